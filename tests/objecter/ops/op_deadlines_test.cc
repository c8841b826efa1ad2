// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_deadlines.h"

#include <gtest/gtest.h>

#include <functional>
#include <vector>

#include "objecter/ops/op_table.h"
#include "tests/support/manual_clock.h"

namespace lunar::objecter {
namespace {

using namespace std::chrono_literals;

class OpDeadlinesTest : public testing::Test {
 protected:
  OpDeadlinesTest() {
    msgr::EventCenter::Options options;
    options.time = &clock;
    center = std::move(*msgr::EventCenter::create(options));
    deadlines = std::make_unique<OpDeadlines>(*center, [this](Op& op, OpTime now) {
      due.push_back(op.tid);
      if (on_due) on_due(op, now);
    });
  }
  ~OpDeadlinesTest() override {
    table.for_each([this](Op& op) { drop(op); });
  }
  void drop(Op& op) {
    table.remove(op);
    table.recycle(op);
  }
  void set(Op& op, std::chrono::nanoseconds in) { deadlines->set(op, center->now() + in); }
  void pass(std::chrono::nanoseconds time) {
    clock.advance(time);
    center->run_until_idle();
  }

  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  OpTable table{{8, 1000}};
  std::unique_ptr<OpDeadlines> deadlines;
  std::vector<Tid> due;
  std::function<void(Op&, OpTime)> on_due;
};

TEST_F(OpDeadlinesTest, TheEarliestIsFirst) {
  Op& late = table.add();
  Op& soon = table.add();
  EXPECT_EQ(deadlines->first(), nullptr);
  set(late, 20s);
  set(soon, 1s);
  EXPECT_EQ(deadlines->first(), &soon);
  set(soon, 30s);
  EXPECT_EQ(deadlines->first(), &late);
  OpDeadlines::clear(late);
  EXPECT_EQ(deadlines->first(), &soon);
  drop(soon);
  EXPECT_EQ(deadlines->first(), nullptr);
}

TEST_F(OpDeadlinesTest, EachIsDueOnceInTheOrderOfDeadlines) {
  Op* ops[3];
  for (Op*& op : ops) op = &table.add();
  set(*ops[0], 3s);
  set(*ops[1], 1s);
  set(*ops[2], 2s);
  pass(999ms);
  EXPECT_TRUE(due.empty());
  pass(1ms);
  EXPECT_EQ(due, (std::vector<Tid>{2}));
  pass(5s);
  EXPECT_EQ(due, (std::vector<Tid>{2, 3, 1}));
  pass(5s);
  EXPECT_EQ(due.size(), 3u);
}

TEST_F(OpDeadlinesTest, WhatIsClearedOrEndedIsNotDue) {
  Op& cleared = table.add();
  Op& ended = table.add();
  set(cleared, 1s);
  set(ended, 1s);
  OpDeadlines::clear(cleared);
  drop(ended);
  pass(2s);
  EXPECT_TRUE(due.empty());
}

TEST_F(OpDeadlinesTest, AnEarlierDeadlineIsNotMissed) {
  Op& op = table.add();
  set(op, 10s);
  set(op, 1s);
  pass(1s);
  EXPECT_EQ(due, (std::vector<Tid>{1}));
}

TEST_F(OpDeadlinesTest, AnotherDeadlineMayBeSetWhenOneIsDue) {
  Op& op = table.add();
  set(op, 1s);
  on_due = [&](Op& late, OpTime now) {
    if (due.size() == 1) deadlines->set(late, now + 1s);
  };
  pass(1s);
  EXPECT_EQ(due.size(), 1u);
  pass(1s);
  EXPECT_EQ(due.size(), 2u);
}

TEST_F(OpDeadlinesTest, NothingIsDueAfterStop) {
  Op& op = table.add();
  set(op, 1s);
  deadlines->stop();
  pass(2s);
  EXPECT_TRUE(due.empty());
}

}  // namespace
}  // namespace lunar::objecter
