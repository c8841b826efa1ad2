// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>

#include "msgr/connection.h"
#include "objecter/protocol/osd_map.h"
#include "osd/access/access_control.h"

namespace lunar::osd {

// The sessions that are sent each newer map, as far as their entities may see it. Each map goes
// once to a session, which loses none: asking again costs a client as much as us.
// Loop-bound. Borrows access; shares connections until on_closed().
class MapSubscribers {
 public:
  explicit MapSubscribers(AccessControl& access) : access_(access) {}

  // A session that has the map of this epoch (0: none) wants newer ones from now on. It is sent
  // `map` if that is newer than what it has and was sent; else the epoch of `map`. Null: there is
  // none yet.
  void subscribe(msgr::Connection& connection, objecter::Epoch has, const objecter::OsdMapRef& map);
  // A newer map is ours. Not null.
  void publish(const objecter::OsdMapRef& map);
  // The session has ended. Does nothing for one that did not subscribe.
  void on_closed(const msgr::Connection& connection) { subscribers_.erase(connection.id()); }

 private:
  struct MapSubscriber {
    msgr::ConnectionRef connection;
    objecter::Epoch sent = 0;  // the newest map that this session was sent
  };

  void send_map(MapSubscriber& to, const objecter::OsdMapRef& map);

  AccessControl& access_;
  std::map<uint64_t, MapSubscriber> subscribers_;  // by id() of the connection
};

}  // namespace lunar::osd
