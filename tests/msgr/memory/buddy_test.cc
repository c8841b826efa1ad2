// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/memory/buddy.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/support/sizes.h"

namespace lunar::msgr {
namespace {

TEST(BuddyTest, OrderIsTheLeastThatHoldsTheLength) {
  EXPECT_EQ(Buddy::order_of(1), 0u);
  EXPECT_EQ(Buddy::order_of(4096), 0u);
  EXPECT_EQ(Buddy::order_of(4097), 1u);
  EXPECT_EQ(Buddy::order_of(16 * kMiB), 12u);
}

TEST(BuddyTest, AWholeChunkIsOneSliceOfTheLargestOrder) {
  Buddy buddy(16 * kMiB);
  EXPECT_EQ(buddy.allocate(12), 0u);
  EXPECT_EQ(buddy.free_bytes(), 0u);
  EXPECT_EQ(buddy.allocate(0), std::nullopt);
  buddy.free(0, 12);
  EXPECT_EQ(buddy.allocate(12), 0u);
}

TEST(BuddyTest, FreedHalvesBecomeOneAgain) {
  Buddy buddy(16 * kMiB);
  std::vector<std::size_t> slices;
  while (const auto offset = buddy.allocate(0)) slices.push_back(*offset);
  EXPECT_EQ(slices.size(), 4096u);
  for (const std::size_t offset : slices) buddy.free(offset, 0);
  EXPECT_EQ(buddy.allocate(12), 0u);
}

TEST(BuddyTest, AChunkThatIsNoPowerOfTwoIsUsedWhole) {
  Buddy buddy(10 * kMiB);
  EXPECT_EQ(buddy.free_bytes(), 10 * kMiB);
  EXPECT_EQ(buddy.allocate(12), std::nullopt);
  EXPECT_EQ(buddy.allocate(Buddy::order_of(8 * kMiB)), 0u);
  EXPECT_EQ(buddy.allocate(Buddy::order_of(2 * kMiB)), 8 * kMiB);
  EXPECT_EQ(buddy.free_bytes(), 0u);
}

TEST(BuddyTest, SlicesNeverOverlapAndAllComesBack) {
  std::mt19937 random(7);
  Buddy buddy(12 * kMiB);
  std::vector<char> taken(12 * kMiB / Buddy::kUnit, 0);
  struct Slice {
    std::size_t offset;
    uint32_t order;
  };
  std::vector<Slice> live;
  for (int i = 0; i < 20000; ++i) {
    if (random() % 2 == 0 || live.empty()) {
      const auto order = static_cast<uint32_t>(random() % 9);
      const auto offset = buddy.allocate(order);
      if (!offset) continue;
      ASSERT_EQ(*offset % (Buddy::kUnit << order), 0u);
      for (std::size_t unit = 0; unit < std::size_t{1} << order; ++unit) {
        char& mark = taken[*offset / Buddy::kUnit + unit];
        ASSERT_EQ(mark, 0);
        mark = 1;
      }
      live.push_back({*offset, order});
    } else {
      std::swap(live[random() % live.size()], live.back());
      const Slice slice = live.back();
      live.pop_back();
      buddy.free(slice.offset, slice.order);
      for (std::size_t unit = 0; unit < std::size_t{1} << slice.order; ++unit) {
        taken[slice.offset / Buddy::kUnit + unit] = 0;
      }
    }
  }
  for (const Slice& slice : live) buddy.free(slice.offset, slice.order);
  EXPECT_EQ(buddy.free_bytes(), 12 * kMiB);
  EXPECT_EQ(buddy.allocate(Buddy::order_of(8 * kMiB)), 0u);
}

TEST(BuddyDeathTest, ASliceFreedTwiceIsCaught) {
  Buddy buddy(kMiB);
  const auto offset = buddy.allocate(0);
  const auto other = buddy.allocate(0);
  ASSERT_TRUE(offset && other);
  buddy.free(*offset, 0);
  EXPECT_DEATH(buddy.free(*offset, 0), "freed twice");
}

}  // namespace
}  // namespace lunar::msgr
