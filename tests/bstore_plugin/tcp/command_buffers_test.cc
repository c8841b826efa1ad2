// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/tcp/command_buffers.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace lunar::bstore_plugin {
namespace {

TEST(CommandBuffersTest, GivesTheSameMemoryAgain) {
  CommandBuffers buffers;
  CommandBuffers::Buffer* const first = buffers.allocate(4096, nullptr);
  void* const begin = first->begin;
  EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 4096, 0u);
  buffers.release(*first);
  EXPECT_EQ(buffers.kept_bytes(), 4096u);
  CommandBuffers::Buffer* const again = buffers.allocate(100, nullptr);
  EXPECT_EQ(again->begin, begin);
  EXPECT_EQ(buffers.kept_bytes(), 0u);
  buffers.release(*again);
}

TEST(CommandBuffersTest, HasRoomForWhatIsAskedFor) {
  CommandBuffers buffers;
  for (const std::size_t bytes : {0u, 1u, 4096u, 4097u, 8192u, 1u << 20, (1u << 20) + 4, 4u << 20,
                                  (4u << 20) + 1, 16u << 20}) {
    CommandBuffers::Buffer* const buffer = buffers.allocate(bytes, nullptr);
    ASSERT_NE(buffer, nullptr);
    EXPECT_GE(buffer->capacity, bytes);
    EXPECT_GE(buffer->capacity, 4096u);
    buffers.release(*buffer);
  }
}

TEST(CommandBuffersTest, KeepsNoMoreThanItsBound) {
  CommandBuffers buffers;
  std::vector<CommandBuffers::Buffer*> taken;
  for (std::size_t i = 0; i < 100; ++i) taken.push_back(buffers.allocate(1 << 20, nullptr));
  for (CommandBuffers::Buffer* const buffer : taken) buffers.release(*buffer);
  EXPECT_EQ(buffers.kept_bytes(), CommandBuffers::kMaxKeptBytes);
}

TEST(CommandBuffersTest, FindsWhatIsInUse) {
  CommandBuffers buffers;
  CommandBuffers::Buffer* const buffer = buffers.allocate(4096, nullptr);
  const std::byte* const begin = buffer->begin;
  int foreign = 0;
  EXPECT_EQ(buffers.find(begin), buffer);
  EXPECT_EQ(buffers.find(begin + 1), nullptr);
  EXPECT_EQ(buffers.find(&foreign), nullptr);
  EXPECT_EQ(buffers.find(nullptr), nullptr);
  buffers.release(*buffer);
  EXPECT_EQ(buffers.find(begin), nullptr);
}

TEST(CommandBuffersTest, ChargesTheOwnerUntilTheLastReference) {
  CommandBuffers buffers;
  BufferOwner owner;
  CommandBuffers::Buffer* const buffer = buffers.allocate(5000, &owner);
  EXPECT_EQ(owner.bytes, buffer->capacity);
  EXPECT_EQ(owner.buffers, 1u);
  buffers.hold(*buffer);
  buffers.release(*buffer);
  EXPECT_EQ(owner.buffers, 1u);
  buffers.release(*buffer);
  EXPECT_EQ(owner.buffers, 0u);
  EXPECT_EQ(owner.bytes, 0u);
}

TEST(CommandBuffersTest, RefusesWhatNoMemoryCanHold) {
  CommandBuffers buffers;
  EXPECT_EQ(buffers.allocate(SIZE_MAX, nullptr), nullptr);
}

class OnePage : public ForeignBuffers {
 public:
  void* allocate(std::size_t bytes) override {
    if (is_taken || bytes > sizeof page) return nullptr;
    is_taken = true;
    return page;
  }
  void release(void* begin) override {
    EXPECT_EQ(begin, page);
    is_taken = false;
  }
  alignas(4096) std::byte page[4096];
  bool is_taken = false;
};

TEST(CommandBuffersTest, AsksTheForeignPoolFirstAndGivesItsMemoryBack) {
  OnePage foreign;
  CommandBuffers buffers;
  buffers.set_foreign(&foreign);
  CommandBuffers::Buffer* const first = buffers.allocate(4096, nullptr);
  EXPECT_EQ(first->begin, foreign.page);
  CommandBuffers::Buffer* const second = buffers.allocate(4096, nullptr);
  EXPECT_NE(second->begin, foreign.page);
  buffers.release(*first);
  EXPECT_FALSE(foreign.is_taken);
  CommandBuffers::Buffer* const small = buffers.allocate(4095, nullptr);
  EXPECT_NE(small->begin, foreign.page);
  buffers.release(*small);
  buffers.release(*second);
}

}  // namespace
}  // namespace lunar::bstore_plugin
