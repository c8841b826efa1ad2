// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/size_parse.h"

#include <gtest/gtest.h>

namespace lunar {
namespace {

using namespace std::chrono_literals;

TEST(SizeParseTest, UnitsArePowersOf1024) {
  EXPECT_EQ(parse_size("0"), 0u);
  EXPECT_EQ(parse_size("512"), 512u);
  EXPECT_EQ(parse_size("512b"), 512u);
  EXPECT_EQ(parse_size("4K"), 4096u);
  EXPECT_EQ(parse_size("4kb"), 4096u);
  EXPECT_EQ(parse_size("1MiB"), 1u << 20);
  EXPECT_EQ(parse_size(" 10 G "), 10ull << 30);
  EXPECT_EQ(parse_size("1.5T"), (1ull << 40) * 3 / 2);
  EXPECT_EQ(parse_size("18446744073709551615"), UINT64_MAX);
}

TEST(SizeParseTest, RefusesWhatIsNotASize) {
  for (const char* text :
       {"", "K", "-1", "+1", "1X", "1KK", "1iB", "1.", ".5K", "0.3", "1.1.1K", "16777216T",
        "18446744073709551616", "99999999999999999999999", "0x10", "1.0000000001K"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
}

TEST(SizeParseTest, DurationsCarryTheirUnit) {
  EXPECT_EQ(parse_duration("500ms"), 500ms);
  EXPECT_EQ(parse_duration("2s"), 2s);
  EXPECT_EQ(parse_duration("2"), 2s);
  EXPECT_EQ(parse_duration("0.25"), 250ms);
  EXPECT_EQ(parse_duration("10 us"), 10us);
  EXPECT_EQ(parse_duration("5m"), 5min);
  EXPECT_EQ(parse_duration("1h"), 1h);
  EXPECT_EQ(parse_duration("0"), 0s);
}

TEST(SizeParseTest, RefusesWhatIsNotADuration) {
  for (const char* text : {"", "s", "-1s", "1 fortnight", "0.1ns", "9999999999999h", "1S"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
}

TEST(SizeParseTest, AFormattedDurationParsesToTheSame) {
  for (const std::chrono::nanoseconds duration :
       {0ns, 1ns, 1500ns, std::chrono::nanoseconds(90s)}) {
    EXPECT_EQ(parse_duration(format_duration(duration)), duration);
  }
  EXPECT_EQ(format_duration(500ms), "500ms");
  EXPECT_EQ(format_duration(2min), "2m");
}

}  // namespace
}  // namespace lunar
