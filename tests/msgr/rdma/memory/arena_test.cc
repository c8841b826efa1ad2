// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/memory/arena.h"

#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <thread>

#include "msgr/rdma/memory/chunk.h"
#include "tests/support/sizes.h"

namespace lunar::msgr::rdma {
namespace {

// Without a device: memory and its growth.
class ArenaTest : public testing::Test {
 protected:
  std::unique_ptr<Arena> make(std::size_t budget, std::size_t initial) {
    auto arena = Arena::create({.budget_bytes = budget, .initial_bytes = initial}, service_);
    EXPECT_TRUE(arena) << arena.error().message;
    return std::move(*arena);
  }
  // Waits until the jobs of the service thread are done.
  void settle() {
    std::promise<void> done;
    ASSERT_FALSE(service_.run([&] { done.set_value(); }));
    done.get_future().wait();
  }
  ServiceThread service_;
};

TEST_F(ArenaTest, SlicesArePowersOfTwoAlignedToTheirSize) {
  const auto arena = make(16 * kMiB, 16 * kMiB);
  const RegisteredBuffer small = arena->allocate(100);
  const RegisteredBuffer large = arena->allocate(3 * kMiB);
  ASSERT_TRUE(small && large);
  EXPECT_EQ(small.bytes().size(), 100u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(small.bytes().data()) % 4096, 0u);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(large.bytes().data()) % (4 * kMiB), 0u);
  EXPECT_TRUE(small.is_registered() && large.is_registered());
  EXPECT_FALSE(RegisteredBuffer().is_registered());
  EXPECT_EQ(arena->bytes_in_use(), 4096 + 4 * kMiB);
  EXPECT_EQ(arena->bytes_registered(), 16 * kMiB);
}

TEST_F(ArenaTest, GrowsOnTheServiceThreadUpToItsBudget) {
  const auto arena = make(20 * kMiB, 0);
  EXPECT_FALSE(arena->allocate(4096));
  settle();
  EXPECT_EQ(arena->bytes_registered(), 16 * kMiB);
  const RegisteredBuffer whole = arena->allocate(16 * kMiB);
  ASSERT_TRUE(whole);
  EXPECT_FALSE(arena->allocate(4096));
  settle();
  EXPECT_EQ(arena->bytes_registered(), 20 * kMiB);
  const RegisteredBuffer rest = arena->allocate(4 * kMiB);
  ASSERT_TRUE(rest);
  EXPECT_FALSE(arena->allocate(4096));
  settle();
  EXPECT_EQ(arena->bytes_registered(), 20 * kMiB);
}

TEST_F(ArenaTest, ASmallFirstChunkIsFollowedByWholeOnes) {
  const auto arena = make(64 * kMiB, 4 * kMiB);
  EXPECT_EQ(arena->bytes_registered(), 4 * kMiB);
  EXPECT_FALSE(arena->allocate(8 * kMiB));
  settle();
  EXPECT_EQ(arena->bytes_registered(), 20 * kMiB);
  EXPECT_TRUE(arena->allocate(8 * kMiB));
}

TEST_F(ArenaTest, WhatIsLongerThanASliceIsPlainMemoryWithinTheBudget) {
  const auto arena = make(64 * kMiB, 0);
  RegisteredBuffer longer = arena->allocate(20 * kMiB);
  ASSERT_TRUE(longer);
  EXPECT_FALSE(longer.is_registered());
  std::memset(longer.bytes().data(), 1, longer.bytes().size());
  EXPECT_FALSE(arena->allocate(50 * kMiB));
  longer = {};
  EXPECT_EQ(arena->bytes_in_use(), 0u);
  EXPECT_TRUE(arena->allocate(100 * kMiB)) << "an idle pool grants one of any size";
}

// A budget of 16 MiB has no slice of 16 MiB if half of it was allocated at the start.
TEST_F(ArenaTest, NoLongerSliceIsPromisedThanAChunkCanHave) {
  for (const std::size_t budget : {16 * kMiB, 22 * kMiB}) {
    SCOPED_TRACE(budget);
    const auto arena = make(budget, 8 * kMiB);
    const RegisteredBuffer half = arena->allocate(8 * kMiB);
    EXPECT_TRUE(half.is_registered());
    EXPECT_FALSE(arena->allocate(8 * kMiB));
    settle();
    EXPECT_TRUE(arena->allocate(8 * kMiB).is_registered());
    for (const std::size_t length : {8 * kMiB + 1, 16 * kMiB}) {
      if (length > budget - 8 * kMiB) continue;
      const RegisteredBuffer plain = arena->allocate(length);
      ASSERT_TRUE(plain) << length;
      EXPECT_FALSE(plain.is_registered());
    }
  }
  const auto idle = make(16 * kMiB, 8 * kMiB);
  EXPECT_TRUE(idle->allocate(16 * kMiB));
  const auto larger = make(24 * kMiB, 8 * kMiB);
  EXPECT_FALSE(larger->allocate(16 * kMiB));
  settle();
  EXPECT_TRUE(larger->allocate(16 * kMiB).is_registered());
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // they end the program for it
TEST_F(ArenaTest, MemoryThatTheHostDoesNotHaveIsAnEmptyLease) {
  const auto arena = make(16 * kMiB, 0);
  EXPECT_FALSE(arena->allocate(SIZE_MAX / 4));
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}
#endif

TEST_F(ArenaTest, ManyThreadsTakeAndGiveBack) {
  const auto arena = make(32 * kMiB, 32 * kMiB);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        RegisteredBuffer buffer = arena->allocate(4096u << (i % 6));
        if (!buffer) continue;
        std::memset(buffer.bytes().data(), t, buffer.bytes().size());
        const auto& bytes = buffer.bytes();
        ASSERT_EQ(bytes.front(), static_cast<std::byte>(t));
        ASSERT_EQ(bytes.back(), static_cast<std::byte>(t));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(arena->bytes_in_use(), 0u);
}

TEST_F(ArenaTest, AGrowthThatIsQueuedMayOutliveTheArena) {
  std::promise<void> block;
  ASSERT_FALSE(service_.run([waiting = block.get_future().share()] { waiting.wait(); }));
  auto arena = make(16 * kMiB, 0);
  EXPECT_FALSE(arena->allocate(4096));
  arena.reset();
  block.set_value();
  settle();
}

TEST(ChunkTableTest, FindsTheChunkOfAnyAddressInIt) {
  std::vector<std::unique_ptr<Chunk>> chunks;
  ChunkTable table(8);
  for (int i = 0; i < 8; ++i) {
    auto mapping = Mapping::create(i % 2 == 0 ? 16 * kMiB : kMiB, false);
    ASSERT_TRUE(mapping);
    EXPECT_EQ(reinterpret_cast<uintptr_t>((*mapping)->begin()) % Mapping::kAlignment, 0u);
    chunks.push_back(std::make_unique<Chunk>(std::move(*mapping)));
    table.add(chunks.back().get());
  }
  for (const auto& chunk : chunks) {
    EXPECT_EQ(table.find(chunk->begin()), chunk.get());
    EXPECT_EQ(table.find(chunk->begin() + chunk->size() - 1), chunk.get());
    EXPECT_EQ(chunk->find(0, chunk->begin(), 10), nullptr) << "no device has it";
  }
  std::byte elsewhere{};
  EXPECT_EQ(table.find(&elsewhere), nullptr);
}

TEST(LoopPortTest, PostsUntilItIsClosed) {
  auto center = EventCenter::create({});
  ASSERT_TRUE(center);
  const auto port = LoopPort::open(**center);
  std::vector<int> order;
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(port->post([&, i] { order.push_back(i); }));
  (*center)->run_until_idle();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2}));
  port->close();
  EXPECT_FALSE(port->post([&] { order.push_back(3); }));
  (*center)->run_until_idle();
  EXPECT_EQ(order.size(), 3u);
}

// Waits until nothing that users of a stack left behind still refers to it.
TEST(LoopPortTest, ClosedItDestroysWhatHasNotRun) {
  auto center = EventCenter::create({});
  ASSERT_TRUE(center);
  const auto port = LoopPort::open(**center);
  const auto used = std::make_shared<int>();
  int runs = 0;
  EXPECT_TRUE(port->post([&, used, port] {
    ++runs;
    port->close();  // in the middle of a turn
    EXPECT_EQ(used.use_count(), 2);
  }));
  EXPECT_TRUE(port->post([&, used] { ++runs; }));
  EXPECT_EQ(used.use_count(), 3);
  (*center)->run_until_idle();
  EXPECT_EQ(runs, 1);
  EXPECT_EQ(used.use_count(), 1);
}

TEST(ServiceThreadTest, RunsJobsInOrderAndWhatIsQueuedBeforeItEnds) {
  std::vector<int> order;
  {
    ServiceThread service;
    for (int i = 0; i < 10; ++i) ASSERT_FALSE(service.run([&, i] { order.push_back(i); }));
  }
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

}  // namespace
}  // namespace lunar::msgr::rdma
