// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/virtual_time.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

namespace lunar::test {
namespace {

using namespace std::chrono_literals;

class VirtualTimeTest : public ::testing::Test {
 protected:
  VirtualTimeTest() {
    msgr::EventCenter::Options timed;
    timed.time = &time_;
    center_ = std::move(*msgr::EventCenter::create(timed));
  }
  // A timer that is due again after `delay`, for ever.
  void turn_round(std::chrono::nanoseconds delay) {
    center_->run_after(delay, [this, delay] { turn_round(delay); });
  }
  VirtualTime time_;
  std::unique_ptr<msgr::EventCenter> center_;
};

TEST_F(VirtualTimeTest, TimersRunInTheirOrderWhileItPasses) {
  std::string ran;
  center_->run_after(3s, [&] { ran += "c"; });
  center_->run_after(1s, [&] {
    ran += "a";
    center_->run_after(1s, [&] { ran += "b"; });
  });
  center_->run_after(5s, [&] { ran += "d"; });
  const auto began = time_.now();
  time_.pass(*center_, 4s);
  EXPECT_EQ(ran, "abc");
  EXPECT_EQ(time_.now() - began, 4s);
}

TEST_F(VirtualTimeTest, WaitingEndsIfHardlyAnyTimePasses) {
  turn_round(1ns);
  EXPECT_FALSE(time_.turn_until(*center_, [] { return false; }));
}

TEST_F(VirtualTimeTest, PassingEndsIfHardlyAnyTimePasses) {
  turn_round(1ns);
  EXPECT_DEATH(time_.pass(*center_, 1s), "hardly any time passes");
}

TEST_F(VirtualTimeTest, PassingEndsIfNoTimePasses) {
  turn_round(0ns);
  EXPECT_DEATH(time_.pass(*center_, 1s), "a loop that is never idle");
}

}  // namespace
}  // namespace lunar::test
