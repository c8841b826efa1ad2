// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <string>

namespace lunar::osd {

// How often a server may have the authority make a map: each is written, and sent to everybody. A
// server that has had kBurst of them gets one more each kInterval; what one server uses up, no
// other one misses. A value.
class BootPace {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr int kBurst = 16;
  static constexpr std::chrono::seconds kInterval{5};

  // Whether this server, by its entity, may now; counts that. Times never go back.
  bool take(const std::string& server, TimePoint now) {
    TimePoint& used_up = used_up_.try_emplace(server, now).first->second;
    if (used_up < now) used_up = now;
    if (used_up - now > (kBurst - 1) * kInterval) return false;
    used_up += kInterval;
    return true;
  }

 private:
  std::map<std::string, TimePoint> used_up_;  // until when what it has had is counted
};

}  // namespace lunar::osd
