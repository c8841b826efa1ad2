// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <memory>

#include "objecter/cluster/server_connection.h"

namespace lunar::objecter {

// The connections to servers, by address: two users of one address share one connection, and with
// it one session. A Dispatcher finds by of() what the messenger tells it about.
// Loop-bound to the messenger's center. Borrows the messenger, and each connection from its users:
// it must outlive them.
class ServerTable {
 public:
  // Once, before the first get().
  void set_messenger(msgr::Messenger* messenger) noexcept { messenger_ = messenger; }
  // The one that exists, or a new one, which connects at once. Never null.
  // REQUIRES: the messenger is set.
  ServerRef get(const msgr::Address& address);
  // Whose connection this is; null if it is none of ours, or one that was let go of.
  // REQUIRES: nobody else sets contexts on connections of this messenger.
  ServerRef of(msgr::Connection& connection) noexcept;
  // Calls fn(ServerConnection&) for each that somebody holds, in the order of addresses. fn must
  // neither get() a new one nor let go of the last reference to one.
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const auto& [address, weak] : servers_) {
      if (const ServerRef server = weak.lock()) fn(*server);
    }
  }

 private:
  friend class ServerConnection;  // connects with the messenger, and leaves the table when it goes
  msgr::Messenger* messenger_ = nullptr;  // null until it is set, which is before any connection
  std::map<msgr::Address, std::weak_ptr<ServerConnection>> servers_;  // none is expired
};

}  // namespace lunar::objecter
