// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/map/epoch_waiters.h"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "tests/support/manual_clock.h"

namespace lunar::objecter {
namespace {

using namespace std::chrono_literals;

class EpochWaitersTest : public testing::Test {
 protected:
  EpochWaitersTest() {
    msgr::EventCenter::Options options;
    options.time = &clock;
    center = std::move(*msgr::EventCenter::create(options));
    waiters = std::make_unique<EpochWaiters>(*center, [](std::chrono::nanoseconds waited) {
      return Error{make_error_code(OsdErrc::kUnreachable),
                   "nobody for " + std::to_string(waited / 1s) + " s"};
    });
  }
  ~EpochWaitersTest() override { waiters->shut_down(); }

  void wait_for_map(std::chrono::nanoseconds timeout) {
    waiters->wait_for_map(timeout, [this](Outcome<OsdMapRef> map) {
      EXPECT_FALSE(outcome) << "done runs once";
      outcome = std::move(map);
    });
  }
  void wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout = 1h) {
    waiters->wait_for_epoch(epoch, timeout, [this, epoch](std::error_code error) {
      ended.push_back({epoch, error});
    });
  }
  void learn(Epoch epoch) {
    OsdMap map;
    map.epoch = epoch;
    waiters->on_new_map(std::make_shared<const OsdMap>(map));
  }
  void pass(std::chrono::nanoseconds time) {
    center->run_until_idle();
    clock.advance(time);
    center->run_until_idle();
  }
  using Ends = std::vector<std::pair<Epoch, std::error_code>>;

  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  std::unique_ptr<EpochWaiters> waiters;
  std::optional<Outcome<OsdMapRef>> outcome;
  Ends ended;
};

TEST_F(EpochWaitersTest, TheFirstMapEndsTheWaitForOne) {
  wait_for_map(2s);
  pass(1s);
  EXPECT_FALSE(outcome);
  learn(5);
  ASSERT_TRUE(outcome && *outcome);
  EXPECT_EQ((**outcome)->epoch, 5u);
  pass(10s);
}

TEST_F(EpochWaitersTest, AMapThatIsThereIsTakenButNotInsideTheCall) {
  learn(5);
  wait_for_map(2s);
  wait_for_epoch(4);
  EXPECT_FALSE(outcome);
  EXPECT_TRUE(ended.empty());
  pass(0s);
  EXPECT_TRUE(outcome);
  EXPECT_EQ(ended, (Ends{{4, {}}}));
}

TEST_F(EpochWaitersTest, AnEpochIsWaitedForUntilAMapHasIt) {
  wait_for_epoch(6);
  wait_for_epoch(8);
  learn(5);
  EXPECT_TRUE(ended.empty());
  learn(7);
  EXPECT_EQ(ended, (Ends{{6, {}}}));
  learn(8);
  EXPECT_EQ(ended, (Ends{{6, {}}, {8, {}}}));
}

TEST_F(EpochWaitersTest, NoMapInTimeIsExplained) {
  wait_for_map(3s);
  pass(3s);
  ASSERT_TRUE(outcome);
  ASSERT_FALSE(*outcome);
  EXPECT_EQ(outcome->error().code, make_error_code(OsdErrc::kUnreachable));
  EXPECT_EQ(outcome->error().message, "nobody for 3 s");
}

TEST_F(EpochWaitersTest, AnEpochThatDoesNotComeTimesOut) {
  learn(5);
  wait_for_epoch(6, 1s);
  wait_for_epoch(7, 2s);
  pass(1s);
  EXPECT_EQ(ended, (Ends{{6, make_error_code(OsdErrc::kTimedOut)}}));
  learn(7);
  EXPECT_EQ(ended.size(), 2u);
  EXPECT_FALSE(ended[1].second);
  pass(10s);
  EXPECT_EQ(ended.size(), 2u) << "done runs once";
}

TEST_F(EpochWaitersTest, WaitingAgainInsideDoneWorks) {
  waiters->wait_for_epoch(5, 1h, [this](std::error_code) { wait_for_epoch(5); });
  learn(5);
  pass(0s);
  EXPECT_EQ(ended, (Ends{{5, {}}}));
}

TEST_F(EpochWaitersTest, ShutDownEndsEveryWait) {
  wait_for_map(1h);
  wait_for_epoch(9);
  waiters->shut_down();
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->error().code, make_error_code(OsdErrc::kShutdown));
  EXPECT_EQ(ended, (Ends{{9, make_error_code(OsdErrc::kShutdown)}}));
  wait_for_epoch(1);
  EXPECT_EQ(ended.size(), 1u) << "never inside the call";
  pass(0s);
  EXPECT_EQ(ended.size(), 2u);
}

}  // namespace
}  // namespace lunar::objecter
