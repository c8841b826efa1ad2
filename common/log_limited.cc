// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/log_limited.h"

#include <chrono>

#include "common/host.h"

namespace lunar {

bool LogLimit::allows(uint32_t& left_out) noexcept {
  const int64_t now =
      std::chrono::duration_cast<std::chrono::seconds>(monotonic_now().time_since_epoch()).count() /
      kPeriodSeconds;
  int64_t period = period_.load(std::memory_order_relaxed);
  if (period != now && period_.compare_exchange_strong(period, now, std::memory_order_relaxed))
    lines_.store(0, std::memory_order_relaxed);
  if (lines_.fetch_add(1, std::memory_order_relaxed) >= kLines) {
    left_out_.fetch_add(1, std::memory_order_relaxed);
    return false;
  }
  left_out = left_out_.exchange(0, std::memory_order_relaxed);
  return true;
}

}  // namespace lunar
