// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <utility>

#include "common/unique_function.h"
#include "msgr/event_center.h"

namespace lunar::msgr::rdma {

// Looks, a while after it was started, for links that hold credits and send nothing.
// Loop-bound. Borrows the center.
class IdleWatch {
 public:
  static constexpr std::chrono::seconds kAfter{1};

  // `look` starts the watch again if there may be something to find next time. It may destroy the
  // watch.
  IdleWatch(EventCenter& center, UniqueFunction<void()> look)
      : center_(center), look_(std::move(look)) {}

  // Nothing if it is on already.
  void start() {
    if (timer_ != TimerId::kNone) return;
    timer_ = center_.run_after(kAfter, [this] {
      timer_ = TimerId::kNone;
      look_();
    });
  }
  // REQUIRES: called before the watch is destroyed, if it is on.
  void stop() { center_.cancel(std::exchange(timer_, TimerId::kNone)); }

 private:
  EventCenter& center_;
  UniqueFunction<void()> look_;
  TimerId timer_ = TimerId::kNone;  // set while it is on
};

}  // namespace lunar::msgr::rdma
