// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/capabilities.h"

#include <fmt/core.h>

#include "common/json.h"
#include "objecter/protocol/image_objects.h"

namespace lunar::objecter {
namespace {

constexpr std::string_view kSeparators = ",;";
constexpr std::string_view kBlanks = " \t\n";

struct Profile {
  std::string_view name;
  uint8_t access;
};
constexpr Profile kProfiles[] = {
    {"gateway", kAccessRead | kAccessWrite},
    {"rbd", kAccessRead | kAccessWrite | kAccessExecute},
    {"rbd-read-only", kAccessRead},
};

auto refuse(std::string what) { return failure(OsdErrc::kInvalid, "capabilities: " + what); }

// Cuts the next word off; empty at the end.
std::string_view take_word(std::string_view& text) {
  const std::size_t start = text.find_first_not_of(kBlanks);
  if (start == std::string_view::npos) return text = {};
  text.remove_prefix(start);
  const std::string_view word = text.substr(0, text.find_first_of(kBlanks));
  text.remove_prefix(word.size());
  return word;
}

// 0 for what is no access.
uint8_t access_of(std::string_view word) {
  if (word == "*") return kAccessAll;
  constexpr std::string_view kLetters = "rwx";
  uint8_t access = 0;
  for (const char letter : word) {
    const std::size_t bit = kLetters.find(letter);
    if (bit == std::string_view::npos || (access & (1u << bit)) != 0) return 0;
    access |= static_cast<uint8_t>(1u << bit);
  }
  return access;
}

uint8_t profile_access(std::string_view name) {
  for (const Profile& profile : kProfiles)
    if (profile.name == name) return profile.access;
  return 0;
}

Outcome<void> add_restriction(std::string_view word, Grant& grant) {
  const std::size_t equals = word.find('=');
  const std::string_view key = word.substr(0, equals);
  const std::string_view value =
      equals == std::string_view::npos ? std::string_view() : word.substr(equals + 1);
  if (const auto id = parse_image_id(value); key == "image_id" && grant.image_id == 0 && id) {
    grant.image_id = *id;
    return {};
  }
  std::string* const name = key == "pool" ? &grant.pool : key == "image" ? &grant.image : nullptr;
  if (name == nullptr || !name->empty() || !is_valid_object_name(value))
    return refuse(fmt::format("'{}' is not pool=POOL, image=IMAGE or image_id= with 16 hex digits",
                              printable_text(word)));
  *name = value;
  return {};
}

Outcome<Grant> parse_grant(std::string_view text) {
  Grant grant;
  const std::string_view verb = take_word(text);
  const std::string_view what = take_word(text);
  if (verb == "allow")
    grant.access = access_of(what);
  else if (verb == "profile")
    grant.access = profile_access(what);
  if (grant.access == 0)
    return refuse(fmt::format(
        "'{} {}' is not 'allow' with r, rw, rwx or *, nor 'profile' with gateway, rbd or "
        "rbd-read-only",
        printable_text(verb), printable_text(what)));
  for (std::string_view word = take_word(text); !word.empty(); word = take_word(text))
    if (auto added = add_restriction(word, grant); !added) return failure(added.error());
  if (!grant.image.empty() && grant.pool.empty())
    return refuse(fmt::format("image={} needs pool=, too", grant.image));
  if (grant.image_id != 0 && grant.image.empty()) return refuse("image_id= needs image=, too");
  return grant;
}

}  // namespace

Outcome<Capabilities> parse_capabilities(std::string_view text) {
  if (text.size() > Capabilities::kMaxTextBytes)
    return refuse(fmt::format("at most {} bytes", Capabilities::kMaxTextBytes));
  Capabilities capabilities;
  while (text.find_first_not_of(kBlanks) != std::string_view::npos) {
    const std::size_t end = text.find_first_of(kSeparators);
    auto grant = parse_grant(text.substr(0, end));
    if (!grant) return failure(grant.error());
    if (capabilities.grants.size() == Capabilities::kMaxGrants)
      return refuse(fmt::format("at most {} grants", Capabilities::kMaxGrants));
    capabilities.grants.push_back(std::move(*grant));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return capabilities;
}

std::string to_string(const Capabilities& capabilities) {
  std::string text;
  for (const Grant& grant : capabilities.grants) {
    text += text.empty() ? "allow " : ", allow ";
    if (grant.access == kAccessAll) {
      text += '*';
    } else {
      if ((grant.access & kAccessRead) != 0) text += 'r';
      if ((grant.access & kAccessWrite) != 0) text += 'w';
      if ((grant.access & kAccessExecute) != 0) text += 'x';
    }
    if (!grant.pool.empty()) text += " pool=" + grant.pool;
    if (!grant.image.empty()) text += " image=" + grant.image;
    if (grant.image_id != 0) text += " image_id=" + image_id_text(grant.image_id);
  }
  return text;
}

}  // namespace lunar::objecter
