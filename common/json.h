// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>

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

// The same for an answer that is looked at as far as it goes: null for a text that is no JSON
// within the bounds, in which nobody finds anything. Where a person reads the reason it is
// parse_json().
template <typename Json>
Json parse_json_or_null(std::string_view text, const JsonBounds& bounds) {
  auto json = parse_json<Json>(text, bounds);
  return json ? std::move(*json) : Json();
}

// The list that an object has under this name, to go through its items; an empty one if `json` is
// no object, has nothing of that name, or has something else there. A reference into `json`, or to
// a list that lives as long as the program. Any thread.
template <typename Json>
const Json& json_list_in(const Json& json, const char* name) {
  static const Json kEmpty = Json::array();
  if (!json.is_object()) return kEmpty;
  const auto found = json.find(name);
  return found != json.end() && found->is_array() ? *found : kEmpty;
}

// JSON as people and the admin socket get it: indented by two blanks, with U+FFFD in place of
// bytes that are no UTF-8, so that nothing in it can make this fail.
std::string json_text(const nlohmann::ordered_json& json);

// What came from outside, as it may stand in a sentence, a log line or on a terminal: cut to a few
// dozen characters, with '?' for all that is not printable ASCII.
std::string printable_text(std::string_view text);
// The same of a JSON value; objects and arrays are only named.
std::string printable_json(const nlohmann::json& value);
std::string printable_json(const nlohmann::ordered_json& value);

}  // namespace lunar
