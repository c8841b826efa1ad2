// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/splitter.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

std::vector<ObjectExtent> split(const StripeLayout& layout, uint64_t offset, uint64_t length) {
  std::vector<ObjectExtent> out;
  for (ExtentCursor cursor(layout, offset, length); !cursor.is_at_end();)
    out.push_back(cursor.next());
  return out;
}

TEST(SplitterTest, ExtentInsideOneObjectStaysWhole) {
  const auto extents = split({}, 4096, 8192);
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_EQ(extents[0].object_no, 0u);
  EXPECT_EQ(extents[0].offset, 4096u);
  EXPECT_EQ(extents[0].length, 8192u);
  EXPECT_EQ(extents[0].buffer_offset, 0u);
}

TEST(SplitterTest, ReadAcrossObjectBoundaryYieldsTwoExtents) {
  const auto extents = split({}, 4 * kMiB - 512, 1024);
  ASSERT_EQ(extents.size(), 2u);
  EXPECT_EQ(extents[0].offset, 4 * kMiB - 512);
  EXPECT_EQ(extents[0].length, 512u);
  EXPECT_EQ(extents[1].object_no, 1u);
  EXPECT_EQ(extents[1].offset, 0u);
  EXPECT_EQ(extents[1].buffer_offset, 512u);
}

TEST(SplitterTest, LengthZeroYieldsNothing) { EXPECT_TRUE(split({}, 4096, 0).empty()); }

TEST(SplitterTest, StripesRotateOverTheObjectsOfASet) {
  const StripeLayout layout{.object_size = kMiB, .stripe_unit = 256 * kKiB, .stripe_count = 3};
  const auto extents = split(layout, 0, 5 * 256 * kKiB);
  ASSERT_EQ(extents.size(), 5u);
  EXPECT_EQ(extents[0].object_no, 0u);
  EXPECT_EQ(extents[1].object_no, 1u);
  EXPECT_EQ(extents[2].object_no, 2u);
  EXPECT_EQ(extents[3].object_no, 0u);
  EXPECT_EQ(extents[3].offset, 256 * kKiB);
  EXPECT_EQ(extents[4].object_no, 1u);
}

TEST(SplitterTest, NextObjectSetBeginsWhenAllObjectsOfTheSetAreFull) {
  const StripeLayout layout{.object_size = kMiB, .stripe_unit = 256 * kKiB, .stripe_count = 3};
  const auto extents = split(layout, 3 * kMiB, 4096);
  ASSERT_EQ(extents.size(), 1u);
  EXPECT_EQ(extents[0].object_no, 3u);
  EXPECT_EQ(extents[0].offset, 0u);
}

// Every byte of an image has one place, no two share one, and extents follow the buffer.
TEST(SplitterTest, PiecesCoverTheBufferAndNeverOverlap) {
  const uint32_t seed = 20261122;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 200; ++round) {
    StripeLayout layout;
    layout.stripe_unit = 4096 * (1 + random() % 8);
    layout.object_size = layout.stripe_unit * (1 + random() % 5);
    layout.stripe_count = static_cast<uint32_t>(1 + random() % 6);
    ASSERT_TRUE(validate(layout));
    const uint64_t offset = random() % (1u << 22), length = random() % (1u << 19);
    uint64_t expected = 0;
    std::map<std::pair<uint64_t, uint64_t>, uint64_t> places;
    for (const ObjectExtent& extent : split(layout, offset, length)) {
      ASSERT_EQ(extent.buffer_offset, expected);
      ASSERT_NE(extent.length, 0u);
      ASSERT_LE(extent.offset % layout.stripe_unit + extent.length, layout.stripe_unit);
      ASSERT_LE(extent.offset + extent.length, layout.object_size);
      ASSERT_LT(extent.object_no, layout.object_count(offset + length));
      expected += extent.length;
      places[{extent.object_no, extent.offset}] = extent.length;
    }
    ASSERT_EQ(expected, length);
    for (auto place = places.begin(); place != places.end(); ++place) {
      const auto next = std::next(place);
      if (next == places.end() || next->first.first != place->first.first) continue;
      ASSERT_LE(place->first.second + place->second, next->first.second);
    }
    ASSERT_EQ(summarize_split(layout, offset, length).extents,
              split(layout, offset, length).size());
  }
}

TEST(SplitterTest, SummaryNamesTheReason) {
  EXPECT_EQ(summarize_split({}, 0, 4096).reason, SplitReason::kNone);
  EXPECT_EQ(summarize_split({}, 0, 8 * kMiB).reason, SplitReason::kObjectBoundary);
  const StripeLayout striped{.object_size = kMiB, .stripe_unit = 64 * kKiB, .stripe_count = 2};
  EXPECT_EQ(summarize_split(striped, 0, 128 * kKiB).reason, SplitReason::kStripe);
  EXPECT_EQ(summarize_split(striped, 0, 0).extents, 0u);
}

TEST(SplitterTest, ObjectCountIncludesAPartlyUsedLastSet) {
  const StripeLayout layout{.object_size = kMiB, .stripe_unit = 256 * kKiB, .stripe_count = 3};
  EXPECT_EQ(layout.object_count(0), 0u);
  EXPECT_EQ(layout.object_count(4096), 1u);
  EXPECT_EQ(layout.object_count(512 * kKiB), 2u);
  EXPECT_EQ(layout.object_count(3 * kMiB), 3u);
  EXPECT_EQ(layout.object_count(3 * kMiB + 1), 4u);
}

TEST(SplitterTest, LayoutsThatBreakTheRulesAreRefused) {
  EXPECT_FALSE(validate({.object_size = 0, .stripe_unit = 4096, .stripe_count = 1}));
  EXPECT_FALSE(validate({.object_size = 5000, .stripe_unit = 5000, .stripe_count = 1}));
  EXPECT_FALSE(validate({.object_size = 12288, .stripe_unit = 8192, .stripe_count = 1}));
  EXPECT_FALSE(validate({.object_size = 64 * kMiB, .stripe_unit = 4096, .stripe_count = 1}));
  EXPECT_FALSE(validate({.object_size = kMiB, .stripe_unit = kMiB, .stripe_count = 0}));
  EXPECT_FALSE(validate({.object_size = kMiB, .stripe_unit = kMiB, .stripe_count = 257}));
}

}  // namespace
}  // namespace lunar::gateway
