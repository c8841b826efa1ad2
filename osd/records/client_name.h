// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <compare>
#include <string>

#include "common/peer_name.h"

namespace lunar::osd {

// Who sent an op: one client is (entity, instance); the nonce, kept beside it, tells its starts
// apart. A value.
struct ClientName {
  std::string entity;
  std::string instance;
  friend auto operator<=>(const ClientName&, const ClientName&) = default;
  std::string to_string() const { return entity + "/" + instance; }
  // What a handshake allows: a name from anywhere else is checked before it gets into a record.
  bool is_valid() const noexcept { return is_entity_text(entity) && is_instance_text(instance); }
};

}  // namespace lunar::osd
