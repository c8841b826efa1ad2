// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/data_buffers.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace lunar::gateway {
namespace {

class DataBuffersTest : public testing::Test {
 protected:
  DataBuffersTest() : pool_(msgr::make_heap_buffer_pool(1u << 20, 0)), buffers_(*pool_, perf_) {}
  PerfRegistry perf_;
  std::unique_ptr<msgr::BufferPool> pool_;
  DataBuffers buffers_;
};

TEST_F(DataBuffersTest, ABufferIsFoundByItsBeginningUntilItIsReleased) {
  void* const begin = buffers_.allocate(10'000);
  ASSERT_NE(begin, nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(begin) % 4096, 0u);
  const msgr::RegisteredBuffer* const lease = buffers_.find(begin);
  ASSERT_NE(lease, nullptr);
  EXPECT_EQ(lease->bytes().data(), begin);
  EXPECT_EQ(lease->bytes().size(), 10'000u);
  EXPECT_EQ(buffers_.find(static_cast<std::byte*>(begin) + 4096), nullptr);
  EXPECT_TRUE(buffers_.release(begin));
  EXPECT_EQ(buffers_.find(begin), nullptr);
  EXPECT_EQ(pool_->bytes_in_use(), 0u);
}

// An idle pool would grant any length, as plain memory, which callers can get elsewhere.
TEST_F(DataBuffersTest, WhatIsLongerThanRegisteredMemoryEverIsIsRefused) {
  EXPECT_EQ(buffers_.allocate((16u << 20) + 1), nullptr);
  EXPECT_EQ(buffers_.allocate(SIZE_MAX), nullptr);
  EXPECT_EQ(pool_->bytes_in_use(), 0u);
}

// As in an arena that is too small for the length.
class PlainPool final : public msgr::BufferPool {
 public:
  msgr::RegisteredBuffer allocate(std::size_t length) override {
    ++given_;
    return {this, Bytes(memory_).first(length), 0};
  }
  std::size_t bytes_in_use() const noexcept override { return given_; }
  bool is_registered(uint32_t) const noexcept override { return false; }

 private:
  void release(Bytes, uint32_t) noexcept override { --given_; }
  std::vector<std::byte> memory_ = std::vector<std::byte>(4096);
  std::size_t given_ = 0;
};

TEST_F(DataBuffersTest, PlainMemoryOfThePoolIsGivenBackToIt) {
  PlainPool plain;
  PerfRegistry perf;
  DataBuffers buffers(plain, perf);
  EXPECT_EQ(buffers.allocate(4096), nullptr);
  EXPECT_EQ(plain.bytes_in_use(), 0u);
}

TEST_F(DataBuffersTest, MemoryOfOthersIsNotReleased) {
  int mine = 0;
  EXPECT_FALSE(buffers_.release(&mine));
  EXPECT_FALSE(buffers_.release(nullptr));
}

TEST_F(DataBuffersTest, AUsedUpPoolGivesNothingAndSaysSo) {
  void* const all = buffers_.allocate(1u << 20);
  ASSERT_NE(all, nullptr);
  EXPECT_EQ(buffers_.allocate(4096), nullptr);
  EXPECT_NE(perf_.dump("data_buffers").find("\"refused\": 1"), std::string::npos)
      << perf_.dump("data_buffers");
  EXPECT_TRUE(buffers_.release(all));
  void* const again = buffers_.allocate(4096);
  EXPECT_NE(again, nullptr);
  EXPECT_TRUE(buffers_.release(again));
}

TEST_F(DataBuffersTest, ThreadsTakeAndReleaseAtOnce) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 500; ++i) {
        void* const begin = buffers_.allocate(4096);
        if (begin == nullptr) continue;
        std::memset(begin, t, 4096);
        EXPECT_NE(buffers_.find(begin), nullptr);
        EXPECT_TRUE(buffers_.release(begin));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(pool_->bytes_in_use(), 0u);
}

}  // namespace
}  // namespace lunar::gateway
