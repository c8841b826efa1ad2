// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/progress_line.h"

#include <gtest/gtest.h>

namespace lunar::tools {
namespace {

using namespace std::chrono_literals;

TEST(ProgressTextTest, SaysRateAndTimeLeftOfBytes) {
  EXPECT_EQ(progress_text("importing", 20u << 20, 100u << 20, 2s, ProgressUnit::kBytes),
            "importing 20%, 10 MiB/s, 8 s left");
}

TEST(ProgressTextTest, SaysNoRateOfOtherThings) {
  EXPECT_EQ(progress_text("removing", 10, 10000, 10s, ProgressUnit::kThings),
            "removing 0%, 2 h left");
}

TEST(ProgressTextTest, GuessesNothingInTheFirstSecond) {
  EXPECT_EQ(progress_text("removing", 1, 2, 900ms, ProgressUnit::kThings), "removing 50%");
}

TEST(ProgressTextTest, EndsWithoutGuesses) {
  EXPECT_EQ(progress_text("removing", 2, 2, 90s, ProgressUnit::kThings), "removing 100%");
}

}  // namespace
}  // namespace lunar::tools
