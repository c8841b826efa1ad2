// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/map/epoch_waiters.h"

#include <utility>

#include "common/check.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

EpochWaiters::EpochWaiters(msgr::EventCenter& center, ExplainNoMap explain_no_map)
    : center_(center), explain_no_map_(std::move(explain_no_map)) {}

EpochWaiters::~EpochWaiters() {
  LUNAR_CHECK(waiters_.empty(), "EpochWaiters are destroyed while somebody waits");
}

void EpochWaiters::wait_for_map(std::chrono::nanoseconds timeout, MapDone done) {
  EpochWaiter waiter;
  waiter.epoch = 1;
  waiter.timeout = timeout;
  waiter.map_done = std::move(done);
  add(std::move(waiter));
}

void EpochWaiters::wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout, EpochDone done) {
  EpochWaiter waiter;
  waiter.epoch = epoch;
  waiter.timeout = timeout;
  waiter.epoch_done = std::move(done);
  add(std::move(waiter));
}

void EpochWaiters::add(EpochWaiter waiter) {
  center_.assert_in_loop();
  const auto at = waiters_.insert(waiters_.end(), std::move(waiter));
  at->timer = center_.run_after(at->timeout, [this, at] { time_out(at); });
  if (is_shut_down_) {
    center_.post([this] { fail_all(); });
  } else if (at->epoch <= epoch()) {
    center_.post([this] { wake(); });
  }
}

void EpochWaiters::on_new_map(OsdMapRef map) {
  map_ = std::move(map);
  wake();
}

void EpochWaiters::shut_down() {
  is_shut_down_ = true;
  fail_all();
}

EpochWaiters::EpochWaiter EpochWaiters::take(Waiters::iterator at) {
  EpochWaiter waiter = std::move(*at);
  waiters_.erase(at);
  center_.cancel(waiter.timer);
  return waiter;
}

void EpochWaiters::time_out(Waiters::iterator at) {
  at->timer = msgr::TimerId::kNone;
  EpochWaiter waiter = take(at);
  if (waiter.map_done) waiter.map_done(failure(explain_no_map_(waiter.timeout)));
  if (waiter.epoch_done) waiter.epoch_done(OsdErrc::kTimedOut);
}

void EpochWaiters::wake() {
  // From the start again after each: done may add one, or a newer map may come inside.
  for (auto at = waiters_.begin(); at != waiters_.end();) {
    if (at->epoch > epoch()) {
      ++at;
      continue;
    }
    EpochWaiter waiter = take(at);
    if (waiter.map_done) waiter.map_done(map_);
    if (waiter.epoch_done) waiter.epoch_done({});
    at = waiters_.begin();
  }
}

void EpochWaiters::fail_all() {
  while (!waiters_.empty()) {
    EpochWaiter waiter = take(waiters_.begin());
    if (waiter.map_done) waiter.map_done(failure(OsdErrc::kShutdown, "shutting down"));
    if (waiter.epoch_done) waiter.epoch_done(OsdErrc::kShutdown);
  }
}

}  // namespace lunar::objecter
