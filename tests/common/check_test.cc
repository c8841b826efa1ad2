// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/check.h"

#include <gtest/gtest.h>

#include "common/log.h"
#include "common/result.h"

namespace lunar {
namespace {

TEST(CheckDeathTest, AFailureNamesConditionContextAndPlace) {
  EXPECT_DEATH(LUNAR_CHECK(1 > 2, "arithmetic"), "1 > 2 \\(arithmetic\\) at .*check_test.cc");
}

TEST(CheckDeathTest, AFailureShowsTheLastLogLines) {
  EXPECT_DEATH(
      {
        log_set_levels(Subsystem::kMs, {-1, 5});
        LUNAR_LOG(kMs, 5, "the line before");
        LUNAR_CHECK(false, "now");
      },
      "the line before");
}

TEST(CheckTest, AConditionThatHoldsDoesNothing) {
  int evaluated = 0;
  LUNAR_CHECK(++evaluated == 1, "evaluated once");
  EXPECT_EQ(evaluated, 1);
}

TEST(ResultTest, ASystemErrorKeepsItsErrno) {
  errno = ENOSPC;
  const auto code = last_system_error();
  EXPECT_EQ(code.value(), ENOSPC);
  EXPECT_TRUE(code == std::errc::no_space_on_device);
}

TEST(ResultTest, AnExplainedErrorCarriesCodeAndSentence) {
  const Outcome<int> outcome = failure(std::errc::timed_out, "osd.3 does not answer");
  ASSERT_FALSE(outcome);
  EXPECT_TRUE(outcome.error().code == std::errc::timed_out);
  EXPECT_EQ(outcome.error().message, "osd.3 does not answer");
}

}  // namespace
}  // namespace lunar
