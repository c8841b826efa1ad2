// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/event/poller_set.h"

#include <gtest/gtest.h>

#include <functional>

namespace lunar::msgr {
namespace {

struct FakePoller final : Poller {
  bool poll() override {
    ++polls;
    if (when_polled) when_polled();
    return has_work;
  }
  bool try_arm() override {
    is_armed = !has_work;
    return is_armed;
  }
  void disarm() override { is_armed = false; }

  int polls = 0;
  bool has_work = false;
  bool is_armed = false;
  std::function<void()> when_polled;
};

class PollerSetTest : public ::testing::Test {
 protected:
  PollerSetTest() {
    set_.add(&first_);
    set_.add(&second_);
  }
  PollerSet set_;
  FakePoller first_;
  FakePoller second_;
};

TEST_F(PollerSetTest, SaysWhetherAnyHadWork) {
  EXPECT_FALSE(set_.poll());
  second_.has_work = true;
  EXPECT_TRUE(set_.poll());
  EXPECT_EQ(first_.polls, 2);
}

TEST_F(PollerSetTest, ArmsAllOrNone) {
  EXPECT_TRUE(set_.try_arm());
  EXPECT_TRUE(first_.is_armed && second_.is_armed);
  set_.disarm();
  second_.has_work = true;
  EXPECT_FALSE(set_.try_arm());
  EXPECT_FALSE(first_.is_armed);
}

TEST_F(PollerSetTest, OneMayLeaveAndAnotherComeWhileTheyArePolled) {
  FakePoller third;
  first_.when_polled = [&] {
    set_.remove(&second_);
    set_.add(&third);
    first_.when_polled = nullptr;
  };
  set_.poll();
  EXPECT_EQ(second_.polls, 0);
  EXPECT_EQ(third.polls, 1);
  set_.remove(&first_);
  set_.remove(&third);
  EXPECT_TRUE(set_.is_empty());
  EXPECT_FALSE(set_.poll());
}

}  // namespace
}  // namespace lunar::msgr
