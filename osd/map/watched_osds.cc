// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/watched_osds.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "msgr/errors.h"

namespace lunar::osd {

WatchedOsds::WatchedOsds(msgr::EventCenter& center, std::chrono::nanoseconds grace, OnDown on_down)
    : center_(center), grace_(grace), on_down_(std::move(on_down)) {}

WatchedOsds::~WatchedOsds() { stop(); }

void WatchedOsds::expect(OsdId osd) {
  start_grace(osd, std::max<std::chrono::nanoseconds>(grace_, kReturn));
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
  watched.sends_heartbeats = connection != nullptr && sends_heartbeats;
  if (connection == nullptr)
    on_away(osd);
  else
    on_back(osd);
}

void WatchedOsds::on_heartbeat(const msgr::Connection& connection) {
  for (auto& [osd, watched] : osds_)
    if (watched.connection == connection.id() && watched.sends_heartbeats) on_back(osd);
}

void WatchedOsds::on_link(const msgr::Connection& connection, bool is_up) {
  for (auto& [osd, watched] : osds_) {
    if (watched.connection != connection.id()) continue;
    if (is_up)
      on_back(osd);
    else
      on_away(osd);
  }
}

// One that sends heartbeats has the grace from now on to send the next.
void WatchedOsds::on_back(OsdId osd) {
  stop_grace(osd);
  osds_[osd].is_away = false;
  if (osds_[osd].sends_heartbeats) start_grace(osd, grace_);
}

// Of one that sends heartbeats the grace has begun with the last.
void WatchedOsds::on_away(OsdId osd) {
  osds_[osd].is_away = true;
  start_grace(osd, grace_);
}

void WatchedOsds::on_closed(const msgr::Connection& connection, std::error_code why) {
  booting_.erase(connection.id());
  for (auto& [osd, watched] : osds_) {
    if (watched.connection != connection.id()) continue;
    watched.connection = 0;
    watched.is_away = true;
    watched.sends_heartbeats = false;
    if (is_stopped_) continue;
    if (why == make_error_code(msgr::MsgrErrc::kClosedByPeer)) {
      stop_grace(osd);
      on_down_(osd);
    } else {
      start_grace(osd, grace_);
    }
  }
}

bool WatchedOsds::is_live(OsdId osd) const {
  const auto at = osds_.find(osd);
  return at != osds_.end() && !at->second.is_away;
}

void WatchedOsds::stop() {
  is_stopped_ = true;
  for (auto& [osd, watched] : osds_)
    center_.cancel(std::exchange(watched.timer, msgr::TimerId::kNone));
}

void WatchedOsds::start_grace(OsdId osd, std::chrono::nanoseconds grace) {
  WatchedOsd& watched = osds_[osd];
  if (is_stopped_ || watched.timer != msgr::TimerId::kNone) return;
  const auto delay = std::chrono::duration_cast<msgr::EventCenter::Clock::duration>(grace);
  watched.due = center_.now() + delay;
  watched.timer = center_.run_after(delay, [this, osd] { on_due(osd); });
}

void WatchedOsds::on_due(OsdId osd) {
  WatchedOsd& watched = osds_[osd];
  watched.timer = msgr::TimerId::kNone;
  // It is us who stood still: what it has sent meanwhile is still to be read.
  if (center_.now() - watched.due > grace_ / 2) return start_grace(osd, grace_);
  watched.is_away = true;
  LUNAR_LOG(kMap, 0, "osd.{} was not heard of for too long", osd);
  on_down_(osd);
}

void WatchedOsds::stop_grace(OsdId osd) {
  center_.cancel(std::exchange(osds_[osd].timer, msgr::TimerId::kNone));
}

}  // namespace lunar::osd
