// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "common/result.h"

namespace lunar {

// How a value is written, and what a getter of Config returns for it.
enum class OptionType : uint8_t {
  kString,    // text, in which $variables are expanded
  kBool,      // true, yes, on, 1; false, no, off, 0
  kUint,      // a whole number
  kSize,      // bytes: 4K, 1MiB
  kDuration,  // 500ms, 2s; a plain number is seconds
  kDouble,    // a number, with a point or an exponent
  kChoice,    // one of the words in `accepts`
  kLogLevel,  // "n" or "n/m": levels for the output and for the memory ring, -1 … 20
};

enum OptionFlag : uint8_t {
  kOptionRuntime = 1,  // may change while the program runs
  kOptionSecret = 2,   // the value is never shown
  kOptionCeph = 4,     // name and meaning are Ceph's
};

// One row of the table of options, all text, so that adding one is adding a row in options.cc. The
// text lives as long as the program.
struct OptionSpec {
  std::string_view name;  // lower case, words separated by _
  OptionType type;
  std::string_view default_value;  // in the form a user would write; $variables allowed in strings
  std::string_view accepts;  // "min..max" for numbers (either side may be empty), "a|b" for choices
  uint8_t flags;             // OptionFlag bits
  std::string_view help;     // a sentence that means something when it is printed alone
  std::string_view refused =
      {};  // "word: why not": a word that is known and refused with its reason
};

// Every option of every program, in the order of the table. Immutable.
std::span<const OptionSpec> all_options() noexcept;

// By canonical name; null if there is none. The pointer is into all_options().
const OptionSpec* find_option(std::string_view name) noexcept;
// The known name that looks most like `name`, by the edits between them; empty if none is near. For
// the error of an unknown option.
std::string_view nearest_option(std::string_view name);
// Spaces, dashes, underscores and case do not matter, as in ceph.conf: "ms type", "MS-Type" →
// "ms_type".
std::string canonical_option_name(std::string_view name);

// The value of a debug_ option, written "n/m", or "n" for n/n. From -1 to 20; see log.h.
struct LogLevels {
  int output = 0;  // lines up to this level go to the log
  int gather = 0;  // lines up to this level are kept in memory
  bool operator==(const LogLevels&) const = default;
};

// A value that was read, of the type of its option: kString and kChoice text, kUint and kSize
// uint64_t.
using OptionValue =
    std::variant<std::string, bool, uint64_t, std::chrono::nanoseconds, double, LogLevels>;

// Reads and checks a value. The error is a sentence with the option, the value and what is
// accepted; the caller adds where it came from. A secret's value is left out of it. Pure.
Outcome<OptionValue> parse_option(const OptionSpec& option, std::string_view text);

// What may be shown of a value: the text itself, "(hidden)" for a secret.
std::string displayed_value(const OptionSpec& option, std::string_view text);

// "a size in bytes, such as 4K or 1MiB, from 4096 to 32MiB": for errors and help.
std::string describe_accepted(const OptionSpec& option);

}  // namespace lunar
