// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

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
};

}  // namespace lunar::osd
