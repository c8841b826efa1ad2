// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/header_salvage.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "common/peer_name.h"
#include "objecter/protocol/watch.h"

namespace lunar::gateway {
namespace {

bool is_space(char c) noexcept { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

std::string_view without_spaces(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

// What follows `"name":`; empty if that is not there.
std::string_view value_of(std::string_view text, std::string_view name) {
  const std::string key = "\"" + std::string(name) + "\"";
  const auto at = text.find(key);
  if (at == std::string_view::npos) return {};
  text = without_spaces(text.substr(at + key.size()));
  if (text.empty() || text.front() != ':') return {};
  return without_spaces(text.substr(1));
}

uint64_t number_of(std::string_view text, std::string_view name) {
  const std::string_view value = value_of(text, name);
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  const bool is_whole = error == std::errc() && end != value.data() + value.size() &&
                        (*end == ',' || *end == '}' || is_space(*end));
  return is_whole ? number : 0;
}

std::optional<std::string_view> quoted(std::string_view value) {
  if (value.empty() || value.front() != '"') return std::nullopt;
  const auto end = value.find('"', 1);
  if (end == std::string_view::npos) return std::nullopt;
  return value.substr(1, end - 1);
}

template <typename T>
T first_of(T given, T found, T otherwise) {
  if (given != 0) return given;
  return found != 0 ? found : otherwise;
}

StripeLayout layout_of(const HeaderRemains& remains, const HeaderGuess& guess) {
  const std::string_view text = remains.text;
  const StripeLayout& defaults = remains.default_layout;
  StripeLayout found{number_of(text, "object_size"), number_of(text, "stripe_unit"),
                     static_cast<uint32_t>(number_of(text, "stripe_count"))};
  // Only together do they make sense.
  const bool is_given = guess.object_size != 0 || guess.stripe_unit != 0 || guess.stripe_count != 0;
  if (is_given || !validate(found)) found = {0, 0, 0};
  StripeLayout layout;
  layout.object_size = first_of(guess.object_size, found.object_size, defaults.object_size);
  layout.stripe_unit = first_of(guess.stripe_unit, found.stripe_unit, layout.object_size);
  layout.stripe_count = first_of<uint32_t>(guess.stripe_count, found.stripe_count, 1);
  return layout;
}

}  // namespace

Outcome<ImageHeader> salvage_header(const HeaderRemains& remains, const HeaderGuess& guess) {
  ImageHeader header;
  header.id = remains.id;
  header.name = remains.name;
  const auto name = quoted(value_of(remains.text, "name"));
  if (header.name.empty() && name && is_valid_image_name(*name)) header.name = *name;
  if (header.name.empty()) header.name = image_id_text(remains.id);
  header.layout = layout_of(remains, guess);
  if (auto valid = validate(header.layout); !valid) return failure(valid.error());
  if (remains.largest_object > header.layout.object_size) {
    return failure(std::errc::invalid_argument,
                   "a data object has " + std::to_string(remains.largest_object) +
                       " bytes, more than an object size of " +
                       std::to_string(header.layout.object_size) + ": give --object-size");
  }
  const uint64_t set_bytes = header.layout.object_size * header.layout.stripe_count;
  const uint64_t sets =
      (remains.end_object + header.layout.stripe_count - 1) / header.layout.stripe_count;
  if (sets > ImageHeader::kMaxSize / set_bytes) {
    return failure(std::errc::invalid_argument,
                   "its objects reach beyond the largest image: give a smaller --object-size");
  }
  const uint64_t holds_all = std::max(sets * set_bytes, ImageHeader::kSizeUnit);
  const uint64_t said = number_of(remains.text, "size");
  const bool can_be = validate_image_size(said).has_value();
  header.size = first_of(guess.size, can_be ? said : 0, holds_all);
  if (auto valid = validate_image_size(header.size); !valid) return failure(valid.error());
  // What growing has to clear: nothing beyond the last object, and all of that.
  header.trimmed_from = std::max(header.size, holds_all);
  const auto uuid_text = quoted(value_of(remains.text, "uuid"));
  const auto uuid = uuid_text ? Uuid::parse(*uuid_text) : std::nullopt;
  header.uuid = uuid ? *uuid : Uuid::random();
  const auto state = quoted(value_of(remains.text, "state"));
  for (const ImageState lasting : {ImageState::kRemoving, ImageState::kImporting}) {
    if (state == image_state_name(lasting)) header.state = lasting;
  }
  return header;
}

std::vector<Registration> salvage_registrations(std::string_view text) {
  std::vector<Registration> found;
  for (std::size_t at = text.find('{'); at != std::string_view::npos; at = text.find('{', at + 1)) {
    const auto end = text.find('}', at);
    if (end == std::string_view::npos) break;
    const std::string_view object = text.substr(at, end - at + 1);
    if (object.find('{', 1) != std::string_view::npos) continue;
    const auto entity = quoted(value_of(object, "entity"));
    const auto instance = quoted(value_of(object, "instance"));
    Registration who;
    who.nonce = number_of(object, "nonce");
    const auto cookie = quoted(value_of(object, "cookie"));
    who.cookie = cookie ? parse_image_id(*cookie).value_or(0) : 0;  // of the same form
    const bool is_legible = entity && instance && is_entity_text(*entity) &&
                            is_instance_text(*instance) && who.nonce != 0 &&
                            who.nonce < objecter::kNoNonce;
    if (!is_legible) continue;
    who.entity = *entity;
    who.instance = *instance;
    found.push_back(std::move(who));
  }
  return found;
}

NameTable salvage_directory(std::string_view text) {
  NameTable names;
  for (std::size_t at = text.find('"'); at != std::string_view::npos; at = text.find('"', at + 1)) {
    const auto name = quoted(text.substr(at));
    if (!name || !is_valid_image_name(*name)) continue;
    std::string_view after = without_spaces(text.substr(at + name->size() + 2));
    if (after.empty() || after.front() != ':') continue;
    const auto id_text = quoted(without_spaces(after.substr(1)));
    const auto id = id_text ? parse_image_id(*id_text) : std::nullopt;
    if (id) names.emplace(*name, *id);
  }
  return names;
}

}  // namespace lunar::gateway
