// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/latency_histogram.h"

#include <gtest/gtest.h>

namespace lunar::iscsi_load {
namespace {

using std::chrono::nanoseconds;

TEST(LatencyHistogramTest, EmptyHistogramGivesZero) {
  LatencyHistogram histogram;
  EXPECT_EQ(histogram.count(), 0u);
  EXPECT_EQ(histogram.percentile(0.5).count(), 0);
  EXPECT_EQ(histogram.mean().count(), 0);
}

TEST(LatencyHistogramTest, SmallValuesAreExact) {
  LatencyHistogram histogram;
  for (int i = 1; i <= 20; ++i) histogram.record(nanoseconds(i));
  EXPECT_EQ(histogram.percentile(0.5).count(), 10);
  EXPECT_EQ(histogram.percentile(0.95).count(), 19);
  EXPECT_EQ(histogram.percentile(1.0).count(), 20);
}

TEST(LatencyHistogramTest, LargeValuesAreWithinABucketsWidth) {
  for (int64_t value : {int64_t{31}, int64_t{32}, int64_t{33}, int64_t{1000}, int64_t{123'456'789},
                        int64_t{1} << 40, (int64_t{1} << 62) + 12345}) {
    LatencyHistogram histogram;
    histogram.record(nanoseconds(value));
    histogram.record(nanoseconds(std::numeric_limits<int64_t>::max()));
    EXPECT_GE(histogram.percentile(0.5).count(), value);
    EXPECT_LE(histogram.percentile(0.5).count(), value + value / 32) << value;
  }
}

TEST(LatencyHistogramTest, PercentileNeverExceedsTheMaximum) {
  LatencyHistogram histogram;
  histogram.record(nanoseconds(1'000'001));
  EXPECT_EQ(histogram.percentile(0.99).count(), 1'000'001);
  EXPECT_EQ(histogram.max().count(), 1'000'001);
}

TEST(LatencyHistogramTest, ClockGoingBackwardsCountsAsZero) {
  LatencyHistogram histogram;
  histogram.record(nanoseconds(-5));
  EXPECT_EQ(histogram.percentile(1.0).count(), 0);
  EXPECT_EQ(histogram.count(), 1u);
}

}  // namespace
}  // namespace lunar::iscsi_load
