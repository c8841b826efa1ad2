// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <chrono>

namespace lunar::msgr::rdma {

// Whether more of something may be asked for: not before begin(), not soon after asking failed, and
// not once there is all that there can be. Any thread.
class Growth {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  static constexpr std::chrono::seconds kPause{1};

  bool may_go_on(TimePoint now) const noexcept {
    return now >= not_before_.load(std::memory_order_relaxed);
  }
  void begin() noexcept { set(TimePoint::min()); }
  void failed(TimePoint now) noexcept { set(now + kPause); }
  void end() noexcept { set(TimePoint::max()); }

 private:
  void set(TimePoint time) noexcept { not_before_.store(time, std::memory_order_relaxed); }
  std::atomic<TimePoint> not_before_{TimePoint::max()};
};

}  // namespace lunar::msgr::rdma
