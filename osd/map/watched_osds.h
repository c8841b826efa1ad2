// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <set>
#include <system_error>

#include "common/unique_function.h"
#include "msgr/connection.h"
#include "msgr/event_center.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

using objecter::OsdId;

// The other OSDs of a cluster, as its authority watches them: one that ends its session is down at
// once, one that is without a session, or its session without a link, when the grace is over.
// Loop-bound. Borrows the center.
class WatchedOsds {
 public:
  using OnDown = UniqueFunction<void(OsdId)>;
  WatchedOsds(msgr::EventCenter& center, std::chrono::nanoseconds grace, OnDown on_down);
  ~WatchedOsds();

  // The map has it as up; it has to come within the grace.
  void expect(OsdId osd);
  // The boot of an OSD came over this connection and is being decided, until take_boot().
  void add_boot(const msgr::Connection& connection) { booting_.insert(connection.id()); }
  // It is decided: true if the connection is still there.
  bool take_boot(const msgr::Connection& connection);
  // It was accepted: the OSD's session is that of this connection; null: it has none any more.
  void on_booted(OsdId osd, const msgr::Connection* connection);

  // The dispatcher's calls, for every connection.
  void on_link(const msgr::Connection& connection, bool is_up);
  void on_closed(const msgr::Connection& connection, std::error_code why);

  // It has a session with a link.
  bool is_live(OsdId osd) const;
  // It has none, and has been without one for less than the grace: it may live all the same.
  bool is_awaited(OsdId osd) const;
  // Nobody is down from now on: it is us who goes.
  void stop();

 private:
  struct WatchedOsd {
    uint64_t connection = 0;                     // id() of its session with us; 0 if there is none
    msgr::TimerId timer = msgr::TimerId::kNone;  // runs while there is none, or no link
  };

  void start_grace(OsdId osd);
  void stop_grace(OsdId osd);

  msgr::EventCenter& center_;
  const std::chrono::nanoseconds grace_;
  OnDown on_down_;
  std::map<OsdId, WatchedOsd> osds_;
  std::multiset<uint64_t> booting_;  // id() of the connections of add_boot()
  bool is_stopped_ = false;
};

}  // namespace lunar::osd
