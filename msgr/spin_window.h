// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <chrono>

namespace lunar::msgr {

// For how long a loop that has nothing to do looks for work again and again before it sleeps: at
// most the limit (ms_busy_poll_us), and less the more often work came too late for that. Whoever
// spins finds work without being woken, and keeps a processor from others meanwhile.
// Not thread-safe. A value.
class SpinWindow {
 public:
  // With 0 it never spins. At first the window is as long as the limit.
  explicit SpinWindow(std::chrono::nanoseconds limit) noexcept : limit_(limit), window_(limit) {}

  // False if it never spins, so that nobody need measure times for it.
  bool is_enabled() const noexcept { return limit_.count() > 0; }
  // From the end of the last work on; between 0 and the limit.
  std::chrono::nanoseconds get() const noexcept { return window_; }

  // Work came after so long a wait, whether the loop slept meanwhile or not. A wait within the
  // limit doubles the window, from an eighth of the limit on; a longer one halves it.
  void on_work_after(std::chrono::nanoseconds waited) noexcept {
    window_ = waited < limit_ ? std::min(limit_, std::max(window_ * 2, limit_ / 8)) : window_ / 2;
  }

 private:
  std::chrono::nanoseconds limit_;
  std::chrono::nanoseconds window_;  // at most limit_
};

}  // namespace lunar::msgr
