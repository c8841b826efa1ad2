// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "msgr/event_center.h"

namespace lunar::osd {

// What systemd hears of a server that it has started (Type=notify; sd_notify(3)); without systemd
// nothing. Loop-bound. Borrows the center, whose loop is what the watchdog watches.
class ServiceManager {
 public:
  explicit ServiceManager(msgr::EventCenter& center) : center_(center) {}
  ~ServiceManager();
  ServiceManager(const ServiceManager&) = delete;
  ServiceManager& operator=(const ServiceManager&) = delete;

  // `doing` is a clause for `systemctl status`.
  void starting(const std::string& doing);
  // The watchdog, if the unit wants one, is told from now on that the loop turns.
  void ready(const std::string& doing);
  // Around a reload; ready again after the second.
  void reloading();
  void reloaded();
  void stopping();

 private:
  void feed_watchdog();

  msgr::EventCenter& center_;
  msgr::EventCenter::Clock::duration watchdog_period_{};  // zero: there is none
  msgr::TimerId timer_ = msgr::TimerId::kNone;
  bool is_ready_ = false;
};

}  // namespace lunar::osd
