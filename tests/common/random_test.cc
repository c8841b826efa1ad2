// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace lunar {
namespace {

TEST(RandomTest, FillsMoreThanOneGetrandomGives) {
  std::vector<std::byte> bytes(1024 * 1024);
  random_bytes(bytes);
  const ConstBytes tail = ConstBytes(bytes).last(64);
  EXPECT_TRUE(std::ranges::any_of(tail, [](std::byte b) { return b != std::byte{0}; }));
}

TEST(RandomTest, ASeedRepeatsItsRun) {
  RandomEngine a = seeded_engine(42);
  RandomEngine b = seeded_engine(42);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(a(), b());
}

TEST(RandomTest, SeedZeroDiffersEachTime) { EXPECT_NE(seeded_engine(0)(), seeded_engine(0)()); }

TEST(RandomTest, ChanceKeepsItsEnds) {
  RandomEngine engine = seeded_engine(1);
  for (int i = 0; i < 1000; ++i) {
    EXPECT_FALSE(chance(engine, 0.0));
    EXPECT_TRUE(chance(engine, 1.0));
  }
}

TEST(RandomTest, ChanceIsAboutAsOftenAsAsked) {
  RandomEngine engine = seeded_engine(7);
  int hits = 0;
  for (int i = 0; i < 10000; ++i) hits += chance(engine, 0.25) ? 1 : 0;
  EXPECT_NEAR(hits, 2500, 200);
}

}  // namespace
}  // namespace lunar
