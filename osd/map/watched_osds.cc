// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/watched_osds.h"

#include <utility>

#include "common/log.h"
#include "msgr/errors.h"

namespace lunar::osd {

WatchedOsds::WatchedOsds(msgr::EventCenter& center, std::chrono::nanoseconds grace, OnDown on_down)
    : center_(center), grace_(grace), on_down_(std::move(on_down)) {}

WatchedOsds::~WatchedOsds() { stop(); }

void WatchedOsds::expect(OsdId osd) { start_grace(osd); }

bool WatchedOsds::take_boot(const msgr::Connection& connection) {
  const auto at = booting_.find(connection.id());
  if (at == booting_.end()) return false;
  booting_.erase(at);
  return true;
}

void WatchedOsds::on_booted(OsdId osd, const msgr::Connection* connection) {
  osds_[osd].connection = connection == nullptr ? 0 : connection->id();
  if (connection == nullptr)
    start_grace(osd);
  else
    stop_grace(osd);
}

void WatchedOsds::on_link(const msgr::Connection& connection, bool is_up) {
  for (auto& [osd, watched] : osds_) {
    if (watched.connection != connection.id()) continue;
    if (is_up)
      stop_grace(osd);
    else
      start_grace(osd);
  }
}

void WatchedOsds::on_closed(const msgr::Connection& connection, std::error_code why) {
  booting_.erase(connection.id());
  for (auto& [osd, watched] : osds_) {
    if (watched.connection != connection.id()) continue;
    watched.connection = 0;
    if (is_stopped_) continue;
    if (why == make_error_code(msgr::MsgrErrc::kClosedByPeer)) {
      stop_grace(osd);
      on_down_(osd);
    } else {
      start_grace(osd);
    }
  }
}

bool WatchedOsds::is_live(OsdId osd) const {
  const auto at = osds_.find(osd);
  return at != osds_.end() && at->second.connection != 0 &&
         at->second.timer == msgr::TimerId::kNone;
}

bool WatchedOsds::is_awaited(OsdId osd) const {
  const auto at = osds_.find(osd);
  return at != osds_.end() && at->second.timer != msgr::TimerId::kNone;
}

void WatchedOsds::stop() {
  is_stopped_ = true;
  for (auto& [osd, watched] : osds_)
    center_.cancel(std::exchange(watched.timer, msgr::TimerId::kNone));
}

void WatchedOsds::start_grace(OsdId osd) {
  WatchedOsd& watched = osds_[osd];
  if (is_stopped_ || watched.timer != msgr::TimerId::kNone) return;
  watched.timer = center_.run_after(
      std::chrono::duration_cast<msgr::EventCenter::Clock::duration>(grace_), [this, osd] {
        osds_[osd].timer = msgr::TimerId::kNone;
        LUNAR_LOG(kMap, 0, "osd.{} has had no session with the authority for too long", osd);
        on_down_(osd);
      });
}

void WatchedOsds::stop_grace(OsdId osd) {
  center_.cancel(std::exchange(osds_[osd].timer, msgr::TimerId::kNone));
}

}  // namespace lunar::osd
