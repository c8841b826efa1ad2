// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/backoff.h"

#include <gtest/gtest.h>

#include "msgr/session/connection_race.h"
#include "msgr/session/dispatch_throttle.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

TEST(BackoffTest, DoublesUpToTheLongestAndShortensByHalfAtMost) {
  Backoff backoff(100ms, 1s, 1);
  for (const auto full : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    const auto wait = backoff.next();
    EXPECT_LE(wait, full);
    EXPECT_GE(wait, full / 2);
  }
  backoff.reset();
  EXPECT_LE(backoff.next(), 100ms);
}

TEST(BackoffTest, ALimitIsShortenedAtRandomToo) {
  Backoff backoff(1h, 2h, 1);
  const auto wait = backoff.next(4s);
  EXPECT_GE(wait, 2s);
  EXPECT_LE(wait, 4s);
  EXPECT_NE(backoff.next(4s), wait);
  EXPECT_GE(backoff.next(), 1h) << "has grown all the same";
}

TEST(BackoffTest, SkipsToTheLongest) {
  Backoff backoff(1ms, 8s, 1);
  backoff.skip_to_longest();
  EXPECT_GE(backoff.next(), 4s);
}

TEST(BackoffTest, IsRepeatableBySeedAndElseNotInStep) {
  Backoff one(1h, 2h, 7);
  Backoff same(1h, 2h, 7);
  Backoff other(1h, 2h, 8);
  const auto wait = one.next();
  EXPECT_EQ(wait, same.next());
  EXPECT_NE(wait, other.next());
}

TEST(BackoffTest, SurvivesSillyOptions) {
  Backoff backoff(0ns, 0ns, 1);
  EXPECT_GE(backoff.next(), 0ns);
  EXPECT_LE(backoff.next(), 1ns);
}

TEST(ConnectionRaceTest, ExactlyOneSideGoesOn) {
  const RaceRank low{Address::loopback(6800), 9};
  const RaceRank high{Address::loopback(6801), 1};
  const RaceRank later{Address::loopback(6801), 2};
  EXPECT_TRUE(wins_race(high, low));
  EXPECT_FALSE(wins_race(low, high));
  EXPECT_TRUE(wins_race(later, high)) << "the nonce decides between equal addresses";
  EXPECT_FALSE(wins_race(high, later));
  EXPECT_FALSE(wins_race(low, low));
}

struct FakeReader final : ThrottledReader {
  void resume() override { ++resumed; }
  int resumed = 0;
};

TEST(DispatchThrottleTest, AReaderAboveItsShareWaitsUntilSomethingIsGivenBack) {
  auto throttle = std::make_shared<DispatchThrottle>(100);
  const auto share = throttle->open("client.a");
  FakeReader reader;
  ASSERT_TRUE(throttle->accepts(reader, *share, 120)) << "the first may have any size";
  auto release = throttle->releaser(throttle->hold(share, 120));
  EXPECT_EQ(throttle->held_bytes(), 120u);
  EXPECT_FALSE(throttle->accepts(reader, *share, 10));
  EXPECT_EQ(reader.resumed, 0);
  release();
  EXPECT_EQ(reader.resumed, 1);
  EXPECT_EQ(throttle->held_bytes(), 0u);
  EXPECT_TRUE(throttle->accepts(reader, *share, 10));
}

TEST(DispatchThrottleTest, ForgetsAReaderThatIsGone) {
  auto throttle = std::make_shared<DispatchThrottle>(10);
  const auto share = throttle->open("client.a");
  auto release = throttle->releaser(throttle->hold(share, 10));
  {
    FakeReader gone;
    EXPECT_FALSE(throttle->accepts(gone, *share, 10));
  }
  release();
  EXPECT_EQ(throttle->held_bytes(), 0u);
}

TEST(DispatchThrottleTest, ZeroMeansNoLimit) {
  auto throttle = std::make_shared<DispatchThrottle>(0);
  const auto share = throttle->open("client.a");
  const auto held = throttle->hold(share, 1u << 30);
  FakeReader reader;
  EXPECT_TRUE(throttle->accepts(reader, *share, 1u << 30));
}

}  // namespace
}  // namespace lunar::msgr
