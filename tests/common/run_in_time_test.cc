// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/run_in_time.h"

#include <gtest/gtest.h>

#include <latch>
#include <memory>
#include <string>
#include <vector>

namespace lunar {
namespace {

using namespace std::chrono_literals;

TEST(RunInTimeTest, GivesWhatTheCallReturns) {
  EXPECT_EQ(run_in_time<std::string>([] { return std::string("read"); }, 10s), "read");
}

TEST(RunInTimeTest, GivesUpACallThatDoesNotReturnAndSoManyOnly) {
  std::vector<std::shared_ptr<std::latch>> answers;
  for (int i = 0; i < kMaxAbandonedCalls; ++i) {
    answers.push_back(std::make_shared<std::latch>(1));
    EXPECT_FALSE(run_in_time<int>(
        [latch = answers.back()] {
          latch->wait();
          return 1;
        },
        1ms));
  }
  EXPECT_FALSE(run_in_time<int>([] { return 1; }, 10s)) << "it is not even begun";
  for (const auto& answer : answers) answer->count_down();
  std::optional<int> again;
  while (!again) again = run_in_time<int>([] { return 1; }, 10s);
  EXPECT_EQ(again, 1);
}

}  // namespace
}  // namespace lunar
