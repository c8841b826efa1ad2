// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/buffer.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include "tests/support/sizes.h"

namespace lunar::msgr {
namespace {

TEST(HeapBufferPoolTest, SlicesArePageAlignedAndExactlyAsLongAsAsked) {
  const auto pool = make_heap_buffer_pool(256 * kMiB, 64 * kMiB);
  for (const std::size_t length :
       {std::size_t{1}, std::size_t{4096}, std::size_t{4097}, kMiB, 16 * kMiB, 16 * kMiB + 1}) {
    const RegisteredBuffer buffer = pool->allocate(length);
    ASSERT_TRUE(buffer);
    EXPECT_EQ(buffer.bytes().size(), length);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.bytes().data()) % 4096, 0u);
    std::memset(buffer.bytes().data(), 0x5a, length);
    EXPECT_GE(pool->bytes_in_use(), length);
  }
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST(HeapBufferPoolTest, RefusesAboveItsBudgetUntilSomethingComesBack) {
  const auto pool = make_heap_buffer_pool(16 * 1024, 0);
  RegisteredBuffer a = pool->allocate(8192);
  RegisteredBuffer b = pool->allocate(5000);  // of the 8 KiB class
  ASSERT_TRUE(a && b);
  EXPECT_FALSE(pool->allocate(1));
  b = {};
  EXPECT_TRUE(pool->allocate(4096));
}

TEST(HeapBufferPoolTest, AnIdlePoolGrantsWhatIsLargerThanItsBudget) {
  const auto pool = make_heap_buffer_pool(4096, 0);
  RegisteredBuffer large = pool->allocate(kMiB);
  EXPECT_TRUE(large);
  EXPECT_FALSE(pool->allocate(1));
  large = {};
  EXPECT_TRUE(pool->allocate(1));
}

TEST(HeapBufferPoolTest, ReusesWhatItKeeps) {
  const auto pool = make_heap_buffer_pool(kMiB, kMiB);
  const std::byte* where = pool->allocate(10'000).bytes().data();
  EXPECT_EQ(pool->allocate(16'000).bytes().data(), where) << "the same 16 KiB class";
}

TEST(HeapBufferPoolTest, ALeaseMovesAndIsGivenBackOnce) {
  const auto pool = make_heap_buffer_pool(kMiB, 0);
  RegisteredBuffer a = pool->allocate(4096);
  RegisteredBuffer b = std::move(a);
  EXPECT_FALSE(a);
  EXPECT_TRUE(b);
  b = pool->allocate(4096);
  EXPECT_EQ(pool->bytes_in_use(), 4096u);
  b = {};
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

TEST(HeapBufferPoolTest, IsThreadSafe) {
  const auto pool = make_heap_buffer_pool(64 * 1024, 32 * 1024);
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&pool, t] {
      for (int i = 0; i < 2000; ++i) {
        const RegisteredBuffer buffer =
            pool->allocate(1 + static_cast<std::size_t>(i) * 7 % 20'000);
        if (!buffer) continue;
        std::memset(buffer.bytes().data(), t, buffer.bytes().size());
        ASSERT_EQ(buffer.bytes().back(), static_cast<std::byte>(t));
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(pool->bytes_in_use(), 0u);
}

}  // namespace
}  // namespace lunar::msgr
