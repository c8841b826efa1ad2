// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/image_rates.h"

#include <gtest/gtest.h>

namespace lunar::tools {
namespace {

using namespace std::chrono_literals;
using gateway::HolderCounts;
using gateway::ImageCounts;

const objecter::ClientIdentity kGateway{"client.gw1", "host1/tgtd", 1};
const objecter::ClientIdentity kOther{"client.gw2", "host2/tgtd", 1};

ImageCounts written(uint64_t writes, std::chrono::nanoseconds time) {
  return {.writes = writes, .write_bytes = writes * 512, .write_time = time};
}

class RateMeterTest : public testing::Test {
 protected:
  RateMeter meter;
  RateMeter::TimePoint begin{100s};
};

TEST_F(RateMeterTest, TheFirstAnswerIsWhereCountingBegins) {
  const ImageRates rates = meter.add({{kGateway, written(1000, 1s)}}, begin);
  EXPECT_EQ(rates.write_ops, 0);
  EXPECT_EQ(rates.write_latency, 0);
}

TEST_F(RateMeterTest, DividesWhatWasAddedByTheTime) {
  meter.add({{kGateway, written(1000, 1s)}}, begin);
  const ImageRates rates = meter.add({{kGateway, written(1010, 1s + 20ms)}}, begin + 5s);
  EXPECT_DOUBLE_EQ(rates.write_ops, 2);
  EXPECT_DOUBLE_EQ(rates.write_bytes, 1024);
  EXPECT_DOUBLE_EQ(rates.write_latency, 2e6);
  EXPECT_EQ(rates.read_ops, 0);
  EXPECT_EQ(rates.read_latency, 0);
}

TEST_F(RateMeterTest, AddsUpAllWhoHaveTheImageOpen) {
  meter.add({{kGateway, written(0, 0s)}, {kOther, written(0, 0s)}}, begin);
  const ImageRates rates =
      meter.add({{kGateway, written(3, 3ms)}, {kOther, written(1, 5ms)}}, begin + 1s);
  EXPECT_DOUBLE_EQ(rates.write_ops, 4);
  EXPECT_DOUBLE_EQ(rates.write_latency, 2e6) << "the mean of all IOs, not of the gateways";
}

TEST_F(RateMeterTest, WhoMissedOneLookIsCountedOverTwo) {
  meter.add({{kGateway, written(0, 0s)}}, begin);
  EXPECT_EQ(meter.add({{kGateway, std::nullopt}}, begin + 1s).write_ops, 0);
  EXPECT_DOUBLE_EQ(meter.add({{kGateway, written(8, 1ms)}}, begin + 2s).write_ops, 4);
}

TEST_F(RateMeterTest, AnotherOpenOfTheSameClientIsNoRate) {
  meter.add({{kGateway, written(1000, 1s)}}, begin);
  EXPECT_EQ(meter.add({{kGateway, written(5, 1ms)}}, begin + 1s).write_ops, 0);
  EXPECT_DOUBLE_EQ(meter.add({{kGateway, written(6, 2ms)}}, begin + 2s).write_ops, 1);
}

TEST(ImageRatesTest, AreNamedAsInRbd) {
  const ImageRates rates{1, 2, 3, 4, 5, 6};
  double expected = 1;
  for (const char* name : kSortNames) EXPECT_EQ(rates.value_of(name), expected++) << name;
}

TEST(ImageRatesTest, ArePrintedWithUnits) {
  EXPECT_EQ(per_second(12.4), "12/s");
  EXPECT_EQ(bytes_per_second(1536), "1.50 KiB/s");
  EXPECT_EQ(bytes_per_second(1e30), bytes_per_second(1e18)) << "of a holder that lies";
  EXPECT_EQ(latency_text(0), "0.00 ns");
  EXPECT_EQ(latency_text(2'345'000), "2.35 ms");
  EXPECT_EQ(latency_text(61e9), "61.00 s");
}

}  // namespace
}  // namespace lunar::tools
