// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <system_error>

#include "common/unique_function.h"
#include "msgr/connection.h"
#include "msgr/event_center.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

using objecter::OsdId;

// The other OSDs of a cluster, as its authority watches them: one that ends its session is down at
// once, one that is without a session, or its session without a link, when the grace is over. One
// that sends heartbeats is down as well if none has come for the grace, whatever its link does. The
// time in which this process stood still counts for nobody. If nobody at all is heard, by links
// that seem to be there, it may be us who is cut off: nobody is down until the links are given up.
// Loop-bound. Borrows the center.
class WatchedOsds {
 public:
  struct Graces {
    std::chrono::nanoseconds session;    // of one whose store is its own
    std::chrono::nanoseconds heartbeat;  // of one that sends heartbeats
  };
  using OnDown = UniqueFunction<void(OsdId)>;
  WatchedOsds(msgr::EventCenter& center, Graces graces, OnDown on_down);
  ~WatchedOsds();

  // The map has it as up, and we have just started: it has to come within the grace of a session.
  void expect(OsdId osd);
  // It is held down, and stays up in the map: on_down again after the grace, unless it comes back.
  void hold_down_again(OsdId osd);
  // The boot of an OSD came over this connection and is being decided, until take_boot().
  void add_boot(const msgr::Connection& connection) { booting_.insert(connection.id()); }
  // It is decided: true if the connection is still there.
  bool take_boot(const msgr::Connection& connection);
  // It was accepted: the OSD's session is that of this connection; null: it has none any more.
  void on_booted(OsdId osd, const msgr::Connection* connection, bool sends_heartbeats);
  // A heartbeat, or anything that will do for one.
  void on_heartbeat(const msgr::Connection& connection);

  // The dispatcher's calls, for every connection.
  void on_link(const msgr::Connection& connection, bool is_up);
  void on_closed(const msgr::Connection& connection, std::error_code why);

  // It has a session with a link, and is heard on it.
  bool is_live(OsdId osd) const;
  // It has none, and has been without one for less than the grace: it may live all the same.
  bool is_awaited(OsdId osd) const;
  // Nobody is down from now on: it is us who goes.
  void stop();

 private:
  using TimePoint = msgr::EventCenter::Clock::time_point;
  struct WatchedOsd {
    uint64_t connection = 0;        // id() of its session with us; 0 if there is none
    bool has_link = false;          // only with a session
    bool sends_heartbeats = false;  // in its last session
    bool is_down = false;           // on_down() was called, and it has not come back
    bool was_overdue = false;       // hold_down_again() was called, and it was not heard since
    // Since when it was not heard of, in the time in which we ran; empty: it need not be heard.
    std::optional<TimePoint> silent_since;
    std::chrono::nanoseconds grace{0};  // only with silent_since
  };

  void wait_for(WatchedOsd& watched, std::chrono::nanoseconds grace);
  void on_heard(WatchedOsd& watched);
  std::chrono::nanoseconds grace_of(const WatchedOsd& watched) const noexcept {
    return watched.sends_heartbeats ? graces_.heartbeat : graces_.session;
  }
  void look_later();
  void look();
  bool may_be_cut_off(TimePoint now) const;

  msgr::EventCenter& center_;
  const Graces graces_;
  const msgr::EventCenter::Clock::duration pace_;  // of looks
  OnDown on_down_;
  std::map<OsdId, WatchedOsd> osds_;
  std::multiset<uint64_t> booting_;             // id() of the connections of add_boot()
  msgr::TimerId timer_ = msgr::TimerId::kNone;  // runs while some OSD has silent_since
  TimePoint last_look_;                         // or when the timer began; only with a timer
  bool is_stopped_ = false;
};

}  // namespace lunar::osd
