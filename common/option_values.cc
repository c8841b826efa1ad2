// SPDX-License-Identifier: LGPL-2.1-or-later
// Text to typed value, with the sentence a person gets when it does not fit.

#include <charconv>
#include <cmath>
#include <limits>

#include "common/options.h"
#include "common/size_parse.h"

namespace lunar {
namespace {

constexpr int kLowestLevel = -1;
constexpr int kHighestLevel = 20;

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<double> parse_double(std::string_view text) {
  const auto value = parse_number<double>(text);
  if (!value || !std::isfinite(*value)) return std::nullopt;
  return value;
}

std::optional<bool> parse_bool(std::string_view text) {
  const std::string word = canonical_option_name(text);
  if (word == "true" || word == "yes" || word == "on" || word == "1") return true;
  if (word == "false" || word == "no" || word == "off" || word == "0") return false;
  return std::nullopt;
}

std::optional<LogLevels> parse_levels(std::string_view text) {
  const auto slash = text.find('/');
  const auto output = parse_number<int>(text.substr(0, slash));
  const auto gather =
      slash == std::string_view::npos ? output : parse_number<int>(text.substr(slash + 1));
  for (const auto& level : {output, gather}) {
    if (!level || *level < kLowestLevel || *level > kHighestLevel) return std::nullopt;
  }
  return LogLevels{*output, *gather};
}

bool is_choice(std::string_view choices, std::string_view word) {
  while (!choices.empty()) {
    const auto bar = choices.find('|');
    if (choices.substr(0, bar) == word) return !word.empty();
    if (bar == std::string_view::npos) break;
    choices.remove_prefix(bar + 1);
  }
  return false;
}

// Whether the value lies in "min..max"; an empty side does not limit.
template <typename T, typename Parse>
bool in_range(std::string_view range, const T& value, Parse parse) {
  const auto dots = range.find("..");
  if (dots == std::string_view::npos) return true;
  const auto low = parse(range.substr(0, dots));
  const auto high = parse(range.substr(dots + 2));
  return (!low || value >= *low) && (!high || value <= *high);
}

template <typename T, typename Parse>
std::optional<OptionValue> ranged(const OptionSpec& option, std::string_view text, Parse parse) {
  const std::optional<T> value = parse(text);
  if (!value || !in_range(option.accepts, *value, parse)) return std::nullopt;
  return OptionValue(*value);
}

template <typename T>
std::optional<OptionValue> plain(const std::optional<T>& value) {
  if (!value) return std::nullopt;
  return OptionValue(*value);
}

std::optional<OptionValue> parse_typed(const OptionSpec& option, std::string_view text) {
  switch (option.type) {
    case OptionType::kString:
      return OptionValue(std::string(text));
    case OptionType::kBool:
      return plain(parse_bool(text));
    case OptionType::kUint:
      return ranged<uint64_t>(option, text, parse_number<uint64_t>);
    case OptionType::kSize:
      return ranged<uint64_t>(option, text, parse_size);
    case OptionType::kDuration:
      return ranged<std::chrono::nanoseconds>(option, text, parse_duration);
    case OptionType::kDouble:
      return ranged<double>(option, text, parse_double);
    case OptionType::kChoice:
      if (!is_choice(option.accepts, text)) return std::nullopt;
      return OptionValue(std::string(text));
    case OptionType::kLogLevel:
      return plain(parse_levels(text));
  }
  return std::nullopt;
}

std::string_view describe_type(OptionType type) {
  switch (type) {
    case OptionType::kString:
      return "text";
    case OptionType::kBool:
      return "true or false";
    case OptionType::kUint:
      return "a whole number";
    case OptionType::kSize:
      return "a size in bytes, such as 4K or 1MiB";
    case OptionType::kDuration:
      return "a duration, such as 500ms or 2s";
    case OptionType::kDouble:
      return "a number";
    case OptionType::kChoice:
      return "one of";
    case OptionType::kLogLevel:
      return "a log level from -1 to 20, or two as in 1/20";
  }
  return "";
}

// The reason after "word: " if this is the word that is known and refused.
std::string_view refusal(const OptionSpec& option, std::string_view text) {
  const auto colon = option.refused.find(": ");
  if (colon == std::string_view::npos || option.refused.substr(0, colon) != text) return {};
  return option.refused.substr(colon + 2);
}

}  // namespace

Outcome<OptionValue> parse_option(const OptionSpec& option, std::string_view text) {
  if (auto value = parse_typed(option, text)) return *std::move(value);
  const std::string what =
      "option '" + std::string(option.name) + "': '" + displayed_value(option, text) + "' ";
  if (const auto why = refusal(option, text); !why.empty()) {
    return failure(std::errc::not_supported, what + "is refused: " + std::string(why));
  }
  return failure(std::errc::invalid_argument, what + "is not " + describe_accepted(option));
}

std::string displayed_value(const OptionSpec& option, std::string_view text) {
  return (option.flags & kOptionSecret) != 0 ? "(hidden)" : std::string(text);
}

std::string describe_accepted(const OptionSpec& option) {
  std::string text(describe_type(option.type));
  const std::string_view accepts = option.accepts;
  if (option.type == OptionType::kChoice) {
    text += ' ';
    for (const char c : accepts) text += c == '|' ? std::string(", ") : std::string(1, c);
    return text;
  }
  const auto dots = accepts.find("..");
  if (dots == std::string_view::npos) return text;
  const std::string low(accepts.substr(0, dots));
  const std::string high(accepts.substr(dots + 2));
  if (!low.empty() && !high.empty()) return text + ", from " + low + " to " + high;
  return text + (low.empty() ? ", at most " + high : ", at least " + low);
}

}  // namespace lunar
