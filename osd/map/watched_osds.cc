// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/watched_osds.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/log.h"
#include "msgr/errors.h"

namespace lunar::osd {
namespace {

using LoopTime = msgr::EventCenter::Clock::duration;

constexpr std::chrono::milliseconds kLongestPace{500};

// Short beside the grace, so that a look which comes late is seen to be late.
LoopTime pace_for(const WatchedOsds::Graces& graces) {
  return std::chrono::duration_cast<LoopTime>(std::min<std::chrono::nanoseconds>(
      kLongestPace, std::min(graces.heartbeat, graces.session) / 10));
}

}  // namespace

WatchedOsds::WatchedOsds(msgr::EventCenter& center, Graces graces, OnDown on_down)
    : center_(center), graces_(graces), pace_(pace_for(graces)), on_down_(std::move(on_down)) {}

WatchedOsds::~WatchedOsds() { stop(); }

void WatchedOsds::expect(OsdId osd) { wait_for(osds_[osd], graces_.session); }

void WatchedOsds::hold_down_again(OsdId osd) {
  WatchedOsd& watched = osds_[osd];
  watched.is_down = false;
  watched.was_overdue = true;
  if (!watched.silent_since) wait_for(watched, grace_of(watched));
}

bool WatchedOsds::take_boot(const msgr::Connection& connection) {
  const auto at = booting_.find(connection.id());
  if (at == booting_.end()) return false;
  booting_.erase(at);
  return true;
}

void WatchedOsds::on_booted(OsdId osd, const msgr::Connection* connection, bool sends_heartbeats) {
  WatchedOsd& watched = osds_[osd];
  watched.connection = connection == nullptr ? 0 : connection->id();
  watched.has_link = connection != nullptr;
  watched.sends_heartbeats = sends_heartbeats;
  watched.is_down = false;
  if (watched.has_link)
    on_heard(watched);
  else
    wait_for(watched, grace_of(watched));
}

void WatchedOsds::on_heartbeat(const msgr::Connection& connection) {
  for (auto& [osd, watched] : osds_)
    if (watched.connection == connection.id() && watched.sends_heartbeats) on_heard(watched);
}

void WatchedOsds::on_link(const msgr::Connection& connection, bool is_up) {
  for (auto& [osd, watched] : osds_) {
    if (watched.connection != connection.id()) continue;
    watched.has_link = is_up;
    if (is_up)
      on_heard(watched);
    else if (!watched.silent_since && !watched.is_down)
      wait_for(watched, grace_of(watched));
  }
}

void WatchedOsds::on_closed(const msgr::Connection& connection, std::error_code why) {
  booting_.erase(connection.id());
  for (auto& [osd, watched] : osds_) {
    if (watched.connection != connection.id()) continue;
    watched.connection = 0;
    watched.has_link = false;
    if (is_stopped_) continue;
    if (why == make_error_code(msgr::MsgrErrc::kClosedByPeer)) {
      watched.silent_since.reset();
      watched.is_down = true;
      on_down_(osd);
    } else if (!watched.silent_since && !watched.is_down) {
      wait_for(watched, grace_of(watched));
    }
  }
}

bool WatchedOsds::is_live(OsdId osd) const {
  const auto at = osds_.find(osd);
  return at != osds_.end() && at->second.has_link && !at->second.is_down;
}

bool WatchedOsds::is_awaited(OsdId osd) const {
  const auto at = osds_.find(osd);
  return at != osds_.end() && at->second.silent_since && !at->second.has_link &&
         !at->second.was_overdue;
}

void WatchedOsds::stop() {
  is_stopped_ = true;
  center_.cancel(std::exchange(timer_, msgr::TimerId::kNone));
}

// --- the grace ---

void WatchedOsds::wait_for(WatchedOsd& watched, std::chrono::nanoseconds grace) {
  watched.silent_since = center_.now();
  watched.grace = grace;
  look_later();
}

// One that sends heartbeats has the grace from now on to send the next. One that was held down and
// goes on has to boot again before it is up; it is watched from then on.
void WatchedOsds::on_heard(WatchedOsd& watched) {
  watched.silent_since.reset();
  watched.was_overdue = false;
  if (watched.sends_heartbeats && !watched.is_down) wait_for(watched, graces_.heartbeat);
}

void WatchedOsds::look_later() {
  if (is_stopped_ || timer_ != msgr::TimerId::kNone) return;
  last_look_ = center_.now();
  timer_ = center_.run_after(pace_, [this] {
    timer_ = msgr::TimerId::kNone;
    look();
  });
}

void WatchedOsds::look() {
  const TimePoint now = center_.now();
  // In the time that a look comes late this loop stood still, and has read nothing of what was
  // sent: it counts for nobody.
  const LoopTime late = now - last_look_ - pace_;
  std::vector<OsdId> due;
  bool is_waiting = false;
  for (auto& [osd, watched] : osds_) {
    if (!watched.silent_since) continue;
    if (late > pace_) *watched.silent_since = std::min(now, *watched.silent_since + late);
    if (now - *watched.silent_since >= watched.grace) due.push_back(osd);
    is_waiting = true;
  }
  if (is_waiting) look_later();
  const bool is_cut_off = may_be_cut_off(now);
  for (const OsdId osd : due) {
    WatchedOsd& watched = osds_[osd];
    if (is_cut_off && watched.has_link) continue;
    watched.silent_since.reset();
    watched.is_down = true;
    LUNAR_LOG(kMap, 0, "osd.{} was not heard of for too long", osd);
    on_down_(osd);
  }
}

// Several servers have links and should be heard, and none of them is.
bool WatchedOsds::may_be_cut_off(TimePoint now) const {
  std::size_t silent = 0;
  for (const auto& [osd, watched] : osds_) {
    if (!watched.sends_heartbeats || !watched.has_link || watched.is_down) continue;
    if (!watched.silent_since || now - *watched.silent_since < watched.grace / 2) return false;
    ++silent;
  }
  return silent > 1;
}

}  // namespace lunar::osd
