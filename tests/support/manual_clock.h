// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>

#include "msgr/event_center.h"

namespace lunar::test {

// A clock that a test moves by hand; give it to EventCenter::Options::time. Loop-bound.
class ManualClock final : public msgr::TimeSource {
 public:
  std::chrono::steady_clock::time_point now() noexcept override { return now_; }
  void advance(std::chrono::nanoseconds by) noexcept { now_ += by; }

 private:
  std::chrono::steady_clock::time_point now_{std::chrono::hours(1)};
};

}  // namespace lunar::test
