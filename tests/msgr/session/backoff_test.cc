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
  void pause() override { paused = true; }
  void resume() override { paused = false; }
  bool paused = false;
};

TEST(DispatchThrottleTest, PausesAllReadersWhileFull) {
  auto throttle = std::make_shared<DispatchThrottle>(100);
  FakeReader one;
  throttle->add(one);
  auto first = throttle->hold(60);
  EXPECT_FALSE(one.paused);
  auto second = throttle->hold(60);
  EXPECT_TRUE(one.paused);
  FakeReader late;
  throttle->add(late);
  EXPECT_TRUE(late.paused);
  first();
  EXPECT_FALSE(one.paused);
  EXPECT_FALSE(late.paused);
  EXPECT_EQ(throttle->held_bytes(), 60u);
  second();
  EXPECT_EQ(throttle->held_bytes(), 0u);
  EXPECT_EQ(throttle->waits(), 1u);
}

TEST(DispatchThrottleTest, ForgetsAReaderThatIsGone) {
  auto throttle = std::make_shared<DispatchThrottle>(10);
  InlineFunction<void()> release;
  {
    FakeReader gone;
    throttle->add(gone);
    release = throttle->hold(10);
  }
  release();
  EXPECT_FALSE(throttle->is_full());
}

TEST(DispatchThrottleTest, ZeroMeansNoLimit) {
  auto throttle = std::make_shared<DispatchThrottle>(0);
  auto release = throttle->hold(1u << 30);
  EXPECT_FALSE(throttle->is_full());
  release();
}

}  // namespace
}  // namespace lunar::msgr
