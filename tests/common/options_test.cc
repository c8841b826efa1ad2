// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/options.h"

#include <gtest/gtest.h>

#include <set>

#include "common/log.h"

namespace lunar {
namespace {

using namespace std::chrono_literals;

std::string refusal_of(std::string_view name, std::string_view value) {
  const OptionSpec* option = find_option(name);
  EXPECT_NE(option, nullptr) << name;
  const auto parsed = parse_option(*option, value);
  return parsed ? "" : parsed.error().message;
}

TEST(OptionsTest, EveryRowIsWellFormed) {
  std::set<std::string_view> names;
  for (const OptionSpec& option : all_options()) {
    EXPECT_TRUE(names.insert(option.name).second) << option.name << " is there twice";
    EXPECT_EQ(canonical_option_name(option.name), option.name);
    EXPECT_TRUE(parse_option(option, option.default_value)) << option.name;
    EXPECT_TRUE(option.help.ends_with(".")) << option.name << " needs a sentence of help";
  }
}

// A bound that does not parse would silently limit nothing.
TEST(OptionsTest, EveryRangeIsWellFormed) {
  for (const OptionSpec& option : all_options()) {
    const bool is_number = option.type == OptionType::kUint || option.type == OptionType::kSize ||
                           option.type == OptionType::kDuration ||
                           option.type == OptionType::kDouble;
    if (!is_number) {
      EXPECT_EQ(option.accepts.empty(), option.type != OptionType::kChoice) << option.name;
    }
    if (!is_number || option.accepts.empty()) continue;
    const auto dots = option.accepts.find("..");
    ASSERT_NE(dots, std::string_view::npos) << option.name;
    const OptionSpec unlimited{option.name, option.type, option.default_value, "", 0, ""};
    for (const auto bound : {option.accepts.substr(0, dots), option.accepts.substr(dots + 2)}) {
      EXPECT_TRUE(bound.empty() || parse_option(unlimited, bound)) << option.name << " " << bound;
    }
  }
}

TEST(OptionsTest, EveryLogSubsystemHasItsOption) {
  for (int i = 0; i < static_cast<int>(Subsystem::kCount); ++i) {
    const std::string name = "debug_" + std::string(subsystem_name(static_cast<Subsystem>(i)));
    const OptionSpec* option = find_option(name);
    ASSERT_NE(option, nullptr) << name;
    EXPECT_EQ(option->type, OptionType::kLogLevel);
    EXPECT_NE(option->flags & kOptionRuntime, 0) << name;
  }
}

TEST(OptionsTest, NamesIgnoreSpacesDashesAndCase) {
  EXPECT_EQ(canonical_option_name(" MS-Type "), "ms_type");
  EXPECT_EQ(canonical_option_name("ms type"), "ms_type");
  EXPECT_EQ(canonical_option_name("ms__type"), "ms_type");
}

TEST(OptionsTest, TheNearestNameIsOffered) {
  EXPECT_EQ(nearest_option("ms_tpye"), "ms_type");
  EXPECT_EQ(nearest_option("objecter timeout"), "objecter_op_timeout");
  EXPECT_EQ(nearest_option("completely_unrelated_thing"), "");
}

TEST(OptionsTest, ValuesAreTyped) {
  EXPECT_EQ(std::get<bool>(*parse_option(*find_option("ms_crc_data"), "Off")), false);
  EXPECT_EQ(std::get<uint64_t>(*parse_option(*find_option("osd_max_write_size"), "8M")), 8u << 20);
  EXPECT_EQ(std::get<std::chrono::nanoseconds>(
                *parse_option(*find_option("objecter_op_timeout"), "500ms")),
            500ms);
  EXPECT_EQ(std::get<double>(*parse_option(*find_option("ms_inject_delay_probability"), "0.5")),
            0.5);
}

TEST(OptionsTest, LevelsAreOneOrTwo) {
  const OptionSpec& option = *find_option("debug_ms");
  EXPECT_EQ(std::get<LogLevels>(*parse_option(option, "1/20")), (LogLevels{1, 20}));
  EXPECT_EQ(std::get<LogLevels>(*parse_option(option, "5")), (LogLevels{5, 5}));
  for (const char* bad : {"", "x", "1/", "/5", "21", "-2", "1/2/3", "1.5"}) {
    EXPECT_FALSE(parse_option(option, bad)) << bad;
  }
}

TEST(OptionsTest, ARefusalSaysWhatIsAccepted) {
  EXPECT_EQ(refusal_of("ms_crc_data", "maybe"),
            "option 'ms_crc_data': 'maybe' is not true or false");
  EXPECT_EQ(refusal_of("ms_async_rdma_dscp", "65"),
            "option 'ms_async_rdma_dscp': '65' is not a whole number, from 0 to 63");
  EXPECT_EQ(refusal_of("ms_async_rdma_dscp", "-1"),
            "option 'ms_async_rdma_dscp': '-1' is not a whole number, from 0 to 63");
  EXPECT_EQ(refusal_of("osd_max_write_size", "1G"),
            "option 'osd_max_write_size': '1G' is not a size in bytes, such as 4K or 1MiB, from "
            "1MiB to 512MiB");
  EXPECT_EQ(refusal_of("lunar_sense_on_timeout", "panic"),
            "option 'lunar_sense_on_timeout': 'panic' is not one of aborted, busy");
  EXPECT_EQ(refusal_of("ms_inject_delay_probability", "nan"),
            "option 'ms_inject_delay_probability': 'nan' is not a number, from 0 to 1");
}

TEST(OptionsTest, AKnownWordThatIsRefusedSaysWhy) {
  EXPECT_EQ(refusal_of("ms_async_rdma_type", "iwarp"),
            "option 'ms_async_rdma_type': 'iwarp' is refused: Lunar's QPs are those of RoCE and "
            "InfiniBand; over an iWARP card use async+posix");
}

TEST(OptionsTest, ASecretIsNeverShownEvenWhenItIsWrong) {
  const OptionSpec secret{"pass", OptionType::kUint, "0", "", kOptionSecret, "A secret."};
  const auto refused = parse_option(secret, "hunter2");
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message.find("hunter2"), std::string::npos);
  EXPECT_EQ(displayed_value(secret, "hunter2"), "(hidden)");
}

}  // namespace
}  // namespace lunar
