// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>

#include "common/result.h"

namespace lunar {

// What a text may ask of the parser, and of whoever walks the result: a deep value overflows the
// stack of what prints or copies it, and finding the members of a large object one by one takes
// quadratic time. A value.
struct JsonBounds {
  static constexpr std::size_t kNoLimit = SIZE_MAX;
  std::size_t bytes = 0;       // of the text
  std::size_t depth = 16;      // objects and arrays inside each other
  std::size_t members = 1024;  // of one object; arrays are bounded by `bytes`
};

// The only way from a text to JSON (tools/dev/check_one_place.py): nothing is parsed before the
// text is known to be within `bounds`. The error's sentence goes on from the name of the thing: "is
// nested more than 16 deep". `Json` is nlohmann's json or ordered_json; pure.
template <typename Json>
Outcome<Json> parse_json(std::string_view text, const JsonBounds& bounds);

extern template Outcome<nlohmann::json> parse_json(std::string_view, const JsonBounds&);
extern template Outcome<nlohmann::ordered_json> parse_json(std::string_view, const JsonBounds&);

// What came from outside, as it may stand in a sentence, a log line or on a terminal: cut to a few
// dozen characters, with '?' for all that is not printable ASCII.
std::string printable_text(std::string_view text);
// The same of a JSON value; objects and arrays are only named.
std::string printable_json(const nlohmann::json& value);
std::string printable_json(const nlohmann::ordered_json& value);

}  // namespace lunar
