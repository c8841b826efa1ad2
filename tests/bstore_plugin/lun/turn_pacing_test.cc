// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/lun/turn_pacing.h"

#include <gtest/gtest.h>

namespace lunar::bstore_plugin {
namespace {

using namespace std::chrono_literals;

class TurnPacingTest : public ::testing::Test {
 protected:
  static TurnPacing::TimePoint at(std::chrono::nanoseconds time) {
    return TurnPacing::TimePoint(time);
  }
  // A command that waits for its server from `sent` on, and gets the reply at `replied`.
  static void wait_for_reply(TurnPacing& pacing, std::chrono::nanoseconds sent,
                             std::chrono::nanoseconds replied) {
    pacing.on_command_started();
    pacing.wants_turn(at(sent));
    pacing.on_readable(at(replied));
    pacing.on_command_ended();
  }
  // How long tgtd stays awake for a command that is sent at `sent`, to a microsecond.
  static std::chrono::microseconds awake_for(TurnPacing& pacing, std::chrono::nanoseconds sent) {
    pacing.on_command_started();
    auto now = sent;
    while (pacing.wants_turn(at(now))) now += 1us;
    pacing.on_command_ended();
    return std::chrono::duration_cast<std::chrono::microseconds>(now - sent);
  }
};

TEST_F(TurnPacingTest, ACommandThatIsAloneIsNotPutOff) {
  TurnPacing pacing(0us);
  pacing.on_command_started();
  EXPECT_FALSE(pacing.must_put_off());
}

TEST_F(TurnPacingTest, CommandsArePutOffUntilATurnBringsNoOther) {
  TurnPacing pacing(0us);
  pacing.on_command_started();
  pacing.on_command_started();
  EXPECT_TRUE(pacing.must_put_off());
  pacing.on_command_started();
  EXPECT_TRUE(pacing.must_put_off());
  EXPECT_FALSE(pacing.must_put_off());
}

TEST_F(TurnPacingTest, ACommandIsPutOffWhileAnEarlierOneIsUnderWay) {
  TurnPacing pacing(0us);
  pacing.on_command_started();
  ASSERT_FALSE(pacing.must_put_off());
  pacing.on_command_started();
  EXPECT_TRUE(pacing.must_put_off());
  ASSERT_FALSE(pacing.must_put_off());
  pacing.on_command_ended();
  pacing.on_command_ended();
  pacing.on_command_started();
  EXPECT_FALSE(pacing.must_put_off());
}

TEST_F(TurnPacingTest, CommandsThatDoNotCeaseArePutOffForSixteenTurns) {
  TurnPacing pacing(0us);
  pacing.on_command_started();
  int turns = 0;
  for (bool puts_off = true; puts_off && turns < 100; ++turns) {
    pacing.on_command_started();
    puts_off = pacing.must_put_off();
  }
  EXPECT_EQ(turns, 17);
  pacing.on_command_started();
  EXPECT_TRUE(pacing.must_put_off()) << "the next burst has as many";
}

TEST_F(TurnPacingTest, WhatIsPostedIsTakenOnce) {
  TurnPacing pacing(0us);
  EXPECT_FALSE(pacing.take_posts());
  pacing.on_posted();
  EXPECT_TRUE(pacing.take_posts());
  EXPECT_FALSE(pacing.take_posts());
  pacing.on_posted();
  pacing.on_readable(at(0us));
  EXPECT_FALSE(pacing.take_posts()) << "it was processed with the fds";
}

TEST_F(TurnPacingTest, WithoutBusyPollingNoTurnIsWanted) {
  TurnPacing pacing(0us);
  pacing.on_command_started();
  EXPECT_FALSE(pacing.wants_turn(at(0us)));
}

TEST_F(TurnPacingTest, NoTurnIsWantedWithoutACommand) {
  TurnPacing pacing(100us);
  EXPECT_FALSE(pacing.wants_turn(at(0us)));
}

TEST_F(TurnPacingTest, StaysAwakeForAReplyForTheTimeOfTheOptionAtMost) {
  TurnPacing pacing(100us);
  EXPECT_EQ(awake_for(pacing, 0us), 100us);
}

TEST_F(TurnPacingTest, RepliesThatComeTooLateMakeItSleepSooner) {
  TurnPacing pacing(100us);
  for (int i = 0; i < 3; ++i) wait_for_reply(pacing, 0us, 1ms);
  EXPECT_LE(awake_for(pacing, 0us), 13us);
  for (int i = 0; i < 30; ++i) wait_for_reply(pacing, 0us, 1ms);
  EXPECT_EQ(awake_for(pacing, 0us), 0us);
}

TEST_F(TurnPacingTest, RepliesThatComeInTimeMakeItStayAwakeAgain) {
  TurnPacing pacing(100us);
  for (int i = 0; i < 40; ++i) wait_for_reply(pacing, 0us, 1ms);
  for (int i = 0; i < 4; ++i) wait_for_reply(pacing, 0us, 50us);
  EXPECT_EQ(awake_for(pacing, 0us), 100us);
}

TEST_F(TurnPacingTest, EachReplyBeginsTheTimeAnew) {
  TurnPacing pacing(100us);
  pacing.on_command_started();
  pacing.on_command_started();
  ASSERT_TRUE(pacing.wants_turn(at(0us)));
  pacing.on_readable(at(90us));
  pacing.on_command_ended();
  EXPECT_TRUE(pacing.wants_turn(at(90us)));
  EXPECT_TRUE(pacing.wants_turn(at(180us)));
  EXPECT_FALSE(pacing.wants_turn(at(190us)));
}

}  // namespace
}  // namespace lunar::bstore_plugin
