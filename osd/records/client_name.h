// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <compare>
#include <string>

namespace lunar::osd {

// Who sent an op: one client is (entity, instance); the nonce, kept beside it, tells its starts
// apart. A value.
struct ClientName {
  std::string entity;
  std::string instance;
  friend auto operator<=>(const ClientName&, const ClientName&) = default;
  std::string to_string() const { return entity + "/" + instance; }

  // What a handshake allows: a name from anywhere else is checked before it gets into a record.
  static constexpr std::size_t kMaxEntityBytes = 129;
  static constexpr std::size_t kMaxInstanceBytes = 256;
  bool is_valid() const noexcept {
    const auto is_graphic = [](const std::string& text) {
      return !text.empty() &&
             std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < 127; });
    };
    return entity.size() <= kMaxEntityBytes && instance.size() <= kMaxInstanceBytes &&
           is_graphic(entity) && is_graphic(instance);
  }
};

}  // namespace lunar::osd
