// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/size_parse.h"

#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace lunar {
namespace {

// "12.5" as 125 with one decimal, and what follows it.
struct Decimal {
  uint64_t digits = 0;
  uint64_t divisor = 1;  // 10^decimals
  std::string_view unit;
};

constexpr std::size_t kMaxDecimals = 9;

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::optional<Decimal> parse_decimal(std::string_view text) {
  text = trim(text);
  Decimal out;
  bool any = false;
  bool after_point = false;
  std::size_t decimals = 0;
  std::size_t i = 0;
  for (; i < text.size(); ++i) {
    if (text[i] == '.' && !after_point && any) {
      after_point = true;
      continue;
    }
    if (text[i] < '0' || text[i] > '9') break;
    const uint64_t digit = static_cast<uint64_t>(text[i] - '0');
    if (out.digits > (std::numeric_limits<uint64_t>::max() - digit) / 10) return std::nullopt;
    out.digits = out.digits * 10 + digit;
    any = true;
    if (after_point) {
      if (++decimals > kMaxDecimals) return std::nullopt;
      out.divisor *= 10;
    }
  }
  if (!any || (after_point && decimals == 0)) return std::nullopt;
  out.unit = trim(text.substr(i));
  return out;
}

// digits / divisor × multiplier, if that is whole and fits.
std::optional<uint64_t> scale(const Decimal& decimal, uint64_t multiplier) {
  const auto product = static_cast<unsigned __int128>(decimal.digits) * multiplier;
  if (product % decimal.divisor != 0) return std::nullopt;
  const auto value = product / decimal.divisor;
  if (value > std::numeric_limits<uint64_t>::max()) return std::nullopt;
  return static_cast<uint64_t>(value);
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// "KiB", "k", "" → 2^10, 2^10, 1.
std::optional<uint64_t> size_unit(std::string_view unit) {
  static constexpr std::string_view kPrefixes = "kmgtp";
  if (unit.empty()) return 1;
  if (unit.size() == 1 && lower(unit[0]) == 'b') return 1;
  const auto power = kPrefixes.find(lower(unit[0]));
  if (power == std::string_view::npos) return std::nullopt;
  const std::string_view rest = unit.substr(1);
  const bool plain = rest.empty() || (rest.size() == 1 && lower(rest[0]) == 'b');
  const bool binary = rest.size() == 2 && lower(rest[0]) == 'i' && lower(rest[1]) == 'b';
  if (!plain && !binary) return std::nullopt;
  return uint64_t{1} << (10 * (power + 1));
}

struct DurationUnit {
  std::string_view name;
  uint64_t nanoseconds;
};
constexpr std::array kDurationUnits = {
    DurationUnit{"h", 3'600'000'000'000},
    DurationUnit{"m", 60'000'000'000},
    DurationUnit{"min", 60'000'000'000},
    DurationUnit{"s", 1'000'000'000},
    DurationUnit{"sec", 1'000'000'000},
    DurationUnit{"ms", 1'000'000},
    DurationUnit{"us", 1'000},
    DurationUnit{"ns", 1},
};

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  const auto decimal = parse_decimal(text);
  if (!decimal) return std::nullopt;
  const auto unit = size_unit(decimal->unit);
  if (!unit) return std::nullopt;
  return scale(*decimal, *unit);
}

std::optional<std::chrono::nanoseconds> parse_duration(std::string_view text) {
  const auto decimal = parse_decimal(text);
  if (!decimal) return std::nullopt;
  const std::string_view wanted = decimal->unit.empty() ? "s" : decimal->unit;
  for (const DurationUnit& unit : kDurationUnits) {
    if (unit.name != wanted) continue;
    const auto value = scale(*decimal, unit.nanoseconds);
    if (!value || *value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return std::nullopt;
    }
    return std::chrono::nanoseconds(static_cast<int64_t>(*value));
  }
  return std::nullopt;
}

std::string format_duration(std::chrono::nanoseconds duration) {
  const auto count = static_cast<uint64_t>(duration.count());
  if (duration.count() <= 0) return "0s";
  for (const DurationUnit& unit : kDurationUnits) {
    if (count % unit.nanoseconds == 0) {
      return std::to_string(count / unit.nanoseconds) + std::string(unit.name);
    }
  }
  return std::to_string(count) + "ns";
}

}  // namespace lunar
