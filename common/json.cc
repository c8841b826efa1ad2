// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

namespace lunar {
namespace {

constexpr std::size_t kMostPrinted = 80;

// The bound that the text does not keep, as a sentence goes on; none if it keeps them all. What is
// wrong as JSON is not looked for: brackets and commas outside of strings bound what any parse of
// it can make.
std::optional<std::string> broken_bound(std::string_view text, const JsonBounds& bounds) {
  if (text.size() > bounds.bytes) {
    return fmt::format("has {} bytes, and at most {} are read", text.size(), bounds.bytes);
  }
  struct OpenBracket {
    bool is_object;
    std::size_t commas;
  };
  std::vector<OpenBracket> levels;
  bool is_in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_in_string) {
      if (c == '\\') ++i;
      is_in_string = c != '"';
    } else if (c == '"') {
      is_in_string = true;
    } else if (c == '{' || c == '[') {
      levels.push_back({c == '{', 0});
      if (levels.size() > bounds.depth) {
        return fmt::format("is nested more than {} deep", bounds.depth);
      }
    } else if (levels.empty()) {
      continue;
    } else if (c == '}' || c == ']') {
      levels.pop_back();
    } else if (c == ',' && levels.back().is_object && ++levels.back().commas >= bounds.members) {
      return fmt::format("has an object of more than {} members", bounds.members);
    }
  }
  return std::nullopt;
}

template <typename Json>
std::string print(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return "an array";
  if (value.is_string()) {
    return fmt::format("\"{}\"", printable_text(value.template get_ref<const std::string&>()));
  }
  return value.dump(-1, ' ', true, Json::error_handler_t::replace);
}

}  // namespace

template <typename Json>
Outcome<Json> parse_json(std::string_view text, const JsonBounds& bounds) {
  if (auto broken = broken_bound(text, bounds)) {
    return failure(std::errc::invalid_argument, std::move(*broken));
  }
  Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return failure(std::errc::invalid_argument, "is not JSON");
  return json;
}

template Outcome<nlohmann::json> parse_json(std::string_view, const JsonBounds&);
template Outcome<nlohmann::ordered_json> parse_json(std::string_view, const JsonBounds&);

std::string json_text(const nlohmann::ordered_json& json) {
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string printable_text(std::string_view text) {
  const bool is_cut = text.size() > kMostPrinted;
  std::string out(text.substr(0, kMostPrinted));
  std::replace_if(
      out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  if (is_cut) out += "...";
  return out;
}

std::string printable_json(const nlohmann::json& value) { return print(value); }
std::string printable_json(const nlohmann::ordered_json& value) { return print(value); }

}  // namespace lunar
