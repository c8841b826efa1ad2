// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <string_view>

namespace lunar {

// The names by which the processes of a cluster know each other: an entity, such as client.admin,
// and an instance, which process of it. A handshake takes no others, and what gets them from
// elsewhere (a command, a header, a map, a record) checks them by the same rule: they stand in
// sentences, logs and records of servers. Pure.
inline constexpr std::size_t kMaxEntityBytes = 129;  // TYPE.ID, 64 bytes each
inline constexpr std::size_t kMaxInstanceBytes = 256;

// 1 … kMaxEntityBytes or kMaxInstanceBytes of graphic ASCII: no blank, no control character.
bool is_entity_text(std::string_view text) noexcept;
bool is_instance_text(std::string_view text) noexcept;

}  // namespace lunar
