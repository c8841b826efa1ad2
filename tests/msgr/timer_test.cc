// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <random>
#include <vector>

#include "msgr/event/timer_queue.h"
#include "tests/support/manual_clock.h"

namespace lunar::msgr {
namespace {

using std::chrono::milliseconds;
using TimePoint = TimerQueue::TimePoint;

TimePoint at(int ms) { return TimePoint(milliseconds(ms)); }

TEST(TimerQueueTest, RunsByDeadlineThenInTheOrderAdded) {
  TimerQueue timers;
  std::vector<int> ran;
  timers.add(at(20), [&] { ran.push_back(3); });
  timers.add(at(10), [&] { ran.push_back(1); });
  timers.add(at(10), [&] { ran.push_back(2); });
  timers.add(at(30), [&] { ran.push_back(4); });
  EXPECT_EQ(timers.next_deadline(), at(10));
  EXPECT_EQ(timers.run_due(at(9)), 0);
  EXPECT_EQ(timers.run_due(at(20)), 3);
  EXPECT_EQ(ran, (std::vector<int>{1, 2, 3}));
  EXPECT_EQ(timers.next_deadline(), at(30));
}

TEST(TimerQueueTest, ACancelledTimerNeverRunsAndGivesUpItsFunctionAtOnce) {
  TimerQueue timers;
  auto held = std::make_shared<int>(1);
  const TimerId id = timers.add(at(1), [held] { FAIL(); });
  EXPECT_EQ(held.use_count(), 2);
  EXPECT_TRUE(timers.cancel(id));
  EXPECT_EQ(held.use_count(), 1);
  EXPECT_FALSE(timers.cancel(id));
  EXPECT_FALSE(timers.cancel(TimerId::kNone));
  EXPECT_EQ(timers.run_due(at(9)), 0);
}

TEST(TimerQueueTest, IdsAreNotReusedWithTheirSlot) {
  TimerQueue timers;
  const TimerId first = timers.add(at(1), [] {});
  timers.run_due(at(1));
  bool ran = false;
  const TimerId second = timers.add(at(1), [&] { ran = true; });
  EXPECT_NE(first, second);
  EXPECT_FALSE(timers.cancel(first));
  timers.run_due(at(1));
  EXPECT_TRUE(ran);
}

TEST(TimerQueueTest, ATimerMayCancelOneThatIsDueToo) {
  TimerQueue timers;
  TimerId victim = TimerId::kNone;
  TimerId self = TimerId::kNone;
  bool cancelled = false, cancelled_self = true;
  self = timers.add(at(1), [&] {
    cancelled = timers.cancel(victim);
    cancelled_self = timers.cancel(self);
  });
  victim = timers.add(at(1), [] { FAIL() << "was cancelled"; });
  EXPECT_EQ(timers.run_due(at(1)), 1);
  EXPECT_TRUE(cancelled);
  EXPECT_FALSE(cancelled_self);
}

TEST(TimerQueueTest, WhatATimerAddsWaitsForTheNextCall) {
  TimerQueue timers;
  int rounds = 0;
  struct Again {
    TimerQueue& timers;
    int& rounds;
    void operator()() const {
      ++rounds;
      timers.add(at(5), Again{timers, rounds});
    }
  };
  timers.add(at(5), Again{timers, rounds});
  EXPECT_EQ(timers.run_due(at(5)), 1);
  EXPECT_EQ(timers.run_due(at(5)), 1);
  EXPECT_EQ(rounds, 2);
}

TEST(TimerQueueTest, AgreesWithASortedMapOverManyRandomSteps) {
  TimerQueue timers;
  std::mt19937 random(7);
  std::multimap<TimePoint, int> expected;
  std::map<int, TimerId> ids;
  std::vector<int> ran;
  int next = 0;
  for (int now = 0; now < 2000; ++now) {
    for (int i = 0; i < 3; ++i) {
      const int id = next++;
      const TimePoint deadline = at(now + 1 + static_cast<int>(random() % 100));
      ids[id] = timers.add(deadline, [&ran, id] { ran.push_back(id); });
      expected.emplace(deadline, id);
    }
    auto victim = std::next(expected.begin(), static_cast<long>(random() % expected.size()));
    EXPECT_TRUE(timers.cancel(ids[victim->second]));
    expected.erase(victim);
    ran.clear();
    timers.run_due(at(now));
    std::vector<int> due;
    while (!expected.empty() && expected.begin()->first <= at(now)) {
      due.push_back(expected.begin()->second);
      expected.erase(expected.begin());
    }
    ASSERT_EQ(ran, due) << "at " << now;
  }
}

class CenterTimerTest : public testing::Test {
 protected:
  CenterTimerTest() {
    EventCenter::Options options;
    options.time = &clock_;
    center_ = std::move(*EventCenter::create(options));
  }
  test::ManualClock clock_;
  std::unique_ptr<EventCenter> center_;
};

TEST_F(CenterTimerTest, RunsWhenTheGivenClockSaysSo) {
  int ran = 0;
  center_->run_after(milliseconds(10), [&] { ++ran; });
  center_->run_until_idle();
  EXPECT_EQ(ran, 0);
  clock_.advance(milliseconds(9));
  center_->run_until_idle();
  EXPECT_EQ(ran, 0);
  clock_.advance(milliseconds(1));
  center_->run_until_idle();
  EXPECT_EQ(ran, 1);
}

TEST_F(CenterTimerTest, ZeroIsTheNextTurn) {
  bool inner = false;
  bool inner_ran_inside = false;
  center_->run_after({}, [&] {
    center_->run_after({}, [&] { inner = true; });
    inner_ran_inside = inner;
  });
  center_->run_until_idle();
  EXPECT_TRUE(inner);
  EXPECT_FALSE(inner_ran_inside);
}

TEST_F(CenterTimerTest, AVeryLongDelayIsNever) {
  const TimerId id = center_->run_after(EventCenter::Clock::duration::max(), [] { FAIL(); });
  clock_.advance(std::chrono::hours(1000));
  center_->run_until_idle();
  EXPECT_TRUE(center_->cancel(id));
}

}  // namespace
}  // namespace lunar::msgr
