// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/keepalive_exchange.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

TEST(KeepaliveExchangeTest, SendsTheNextOneOnlyWhenTheLastHasLeft) {
  KeepaliveExchange exchange;
  EXPECT_EQ(exchange.next(100)->sent, 100u);
  EXPECT_FALSE(exchange.next(200).has_value());
  exchange.on_sent();
  EXPECT_EQ(exchange.next(300)->sent, 300u);
}

TEST(KeepaliveExchangeTest, AnswersTheNewestOnceAndOneAtATime) {
  KeepaliveExchange exchange;
  EXPECT_FALSE(exchange.next_ack(1).has_value());
  exchange.on_keepalive({10}, 20);
  const auto ack = exchange.next_ack(30);
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->sent, 10u);
  EXPECT_EQ(ack->received, 20u);
  EXPECT_EQ(ack->answered, 30u);
  exchange.on_keepalive({40}, 50);
  exchange.on_keepalive({60}, 70);
  EXPECT_FALSE(exchange.next_ack(80).has_value()) << "the last answer waits in the link";
  exchange.on_ack_sent();
  EXPECT_EQ(exchange.next_ack(90)->sent, 60u);
  exchange.on_ack_sent();
  EXPECT_FALSE(exchange.next_ack(100).has_value());
}

TEST(KeepaliveExchangeTest, MeasuresTheRoundTripWithoutThePeersOwnTime) {
  // Sent at 1000 of our clock; the peer's is 500 ahead; 100 each way and 50 at the peer.
  const auto measured = KeepaliveExchange::measure({1000, 1600, 1650}, 1250);
  ASSERT_TRUE(measured.has_value());
  EXPECT_EQ(measured->round_trip, 200ns);
  EXPECT_EQ(measured->clock_offset_ns, 500);
}

TEST(KeepaliveExchangeTest, AClockThatJumpedMeasuresNothing) {
  EXPECT_FALSE(KeepaliveExchange::measure({1000, 1600, 1650}, 10).has_value());
}

}  // namespace
}  // namespace lunar::msgr
