// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/reconnect_pacing.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

class ReconnectPacingTest : public ::testing::Test {
 protected:
  // A link that lived for so long, and by whose end so much had been brought over.
  void link(std::chrono::nanoseconds life, uint64_t progress) {
    pacing_.on_link_up(now_);
    now_ += life;
    pacing_.on_link_down(now_, progress);
  }
  std::chrono::nanoseconds next(bool has_session = true) { return pacing_.next(has_session); }
  void fail_often() {
    for (int i = 0; i < 10; ++i) next();
  }

  ReconnectPacing::TimePoint now_{1h};
  ReconnectPacing pacing_{100ms, 10s, std::chrono::nanoseconds::max(), 1, now_};
};

TEST_F(ReconnectPacingTest, TheFirstAttemptsFollowEachOtherEverMoreSlowly) {
  const auto first = next();
  EXPECT_GE(first, 50ms);
  EXPECT_LE(first, 100ms);
  fail_often();
  EXPECT_GE(next(), 5s);
}

TEST_F(ReconnectPacingTest, AnImpatientSideWaitsLongOnlyWhenItIsRefused) {
  ReconnectPacing impatient(100ms, 1h, 2s, 1, now_);
  for (int i = 0; i < 30; ++i) EXPECT_LE(impatient.next(true), 2s);
  EXPECT_GE(impatient.next(true), 1s);
  impatient.on_refused();
  EXPECT_GE(impatient.next(true), 30min);
  EXPECT_LE(impatient.next(true), 2s) << "of the attempt after that nobody was refused";
}

TEST_F(ReconnectPacingTest, AfterALinkThatLivedItTriesAgainAtOnceAndThenAsAtFirst) {
  fail_often();
  link(1s, 0);
  EXPECT_EQ(next(), 0ms);
  EXPECT_LE(next(), 100ms);
}

TEST_F(ReconnectPacingTest, WithoutASessionItNeverTriesAtOnce) {
  link(1s, 0);
  EXPECT_GT(next(false), 0ms);
}

TEST_F(ReconnectPacingTest, AShortLinkThatBroughtSomethingOverMakesThePausesShort) {
  fail_often();
  link(1ms, 5);
  EXPECT_LE(next(), 100ms);
}

TEST_F(ReconnectPacingTest, AShortLinkThatBroughtNothingOverDoesNot) {
  link(1ms, 5);
  fail_often();
  link(1ms, 5);
  EXPECT_GE(next(), 5s);
}

TEST_F(ReconnectPacingTest, ARefusalMakesTheNextPauseTheLongest) {
  pacing_.on_refused();
  EXPECT_GE(next(), 5s);
}

TEST_F(ReconnectPacingTest, WaitingForThePeerUsesUpTheAttemptAtOnce) {
  link(1s, 0);
  pacing_.on_waiting_for_peer();
  EXPECT_GT(next(), 0ms);
}

TEST_F(ReconnectPacingTest, KnowsHowLongThereIsNoLink) {
  link(1s, 0);
  EXPECT_EQ(pacing_.time_without_link(now_ + 3s), 3s);
}

}  // namespace
}  // namespace lunar::msgr
