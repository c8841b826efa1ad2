// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <list>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// Who waits for the first map, or for a map of at least some epoch.
// Each `done` runs exactly once, later, never inside the call that took it: when the map is there,
// when its time is over, or at shut_down().
// Loop-bound to its center, which it borrows. Owns the waiters.
class EpochWaiters {
 public:
  using MapDone = UniqueFunction<void(Outcome<OsdMapRef>)>;
  using EpochDone = UniqueFunction<void(std::error_code)>;
  // What somebody who waited so long for the first map is told.
  using ExplainNoMap = UniqueFunction<Error(std::chrono::nanoseconds waited)>;

  EpochWaiters(msgr::EventCenter& center, ExplainNoMap explain_no_map);
  ~EpochWaiters();  // REQUIRES: nobody waits

  void wait_for_map(std::chrono::nanoseconds timeout, MapDone done);
  void wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout, EpochDone done);
  void on_new_map(OsdMapRef map);
  // Everybody who waits, now or from now on, hears kShutdown.
  void shut_down();

 private:
  struct EpochWaiter {
    Epoch epoch = 0;
    std::chrono::nanoseconds timeout{0};
    msgr::TimerId timer = msgr::TimerId::kNone;  // runs as long as the waiter is in the list
    MapDone map_done;                            // exactly one of the two is not empty
    EpochDone epoch_done;
  };
  using Waiters = std::list<EpochWaiter>;

  void add(EpochWaiter waiter);
  void time_out(Waiters::iterator waiter);
  void wake();
  void fail_all();
  EpochWaiter take(Waiters::iterator waiter);
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }

  msgr::EventCenter& center_;
  ExplainNoMap explain_no_map_;
  OsdMapRef map_;  // the newest; null before the first
  Waiters waiters_;
  bool is_shut_down_ = false;
};

}  // namespace lunar::objecter
