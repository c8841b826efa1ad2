// SPDX-License-Identifier: LGPL-2.1-or-later
// What a new map changes, and who waits for one.
#include "objecter/objecter_impl.h"

namespace lunar::objecter {
namespace {
constexpr std::chrono::milliseconds kRetryDelay{100};
}  // namespace

void ObjecterImpl::on_new_map(OsdMapRef map) {
  targeting_.set_map(std::move(map));
  for (auto& [id, session] : sessions_) update_session(*session);
  table_.for_each([this](Op& op) { retarget(op); });
  for (auto& [id, session] : sessions_) send_waiting(*session);
  place_commands();
  wake_waiters();
}

// Pools that are still missing do not exist.
void ObjecterImpl::on_newest_confirmed(uint64_t ticket) {
  for (auto at = waiting_for_map_.begin(); at != waiting_for_map_.end();) {
    Op& op = *at++;
    if (op.map_ticket != 0 && op.map_ticket <= ticket) end(op, OsdErrc::kNoSuchPool);
  }
}

// For ops whose server refused them under a map that both have.
void ObjecterImpl::schedule_retry() {
  if (retry_timer_ != msgr::TimerId::kNone || is_shutting_down_) return;
  retry_timer_ = center_.run_after(kRetryDelay, [this] {
    retry_timer_ = msgr::TimerId::kNone;
    for (auto at = waiting_for_map_.begin(); at != waiting_for_map_.end();) {
      Op& op = *at++;
      if (op.map_ticket != 0 || op.wait_epoch != 0 || targeting_.map() == nullptr) continue;
      static_cast<QueueHook&>(op).unlink();
      target(op);
    }
  });
}

// --- waiting for a map ---

void ObjecterImpl::wait_for_map(std::chrono::nanoseconds timeout,
                                InlineFunction<void(Outcome<OsdMapRef>)> done) {
  add_waiter(1, timeout)->map_done = std::move(done);
}

void ObjecterImpl::wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout,
                                  InlineFunction<void(std::error_code)> done) {
  add_waiter(epoch, timeout)->epoch_done = std::move(done);
  if (epoch > targeting_.epoch() && targeting_.map() != nullptr && !is_shutting_down_) {
    maps_.ask_newest();
  }
}

std::list<ObjecterImpl::EpochWaiter>::iterator ObjecterImpl::add_waiter(
    Epoch epoch, std::chrono::nanoseconds timeout) {
  center_.assert_in_loop();
  const auto waiter = waiters_.insert(waiters_.end(), EpochWaiter{});
  waiter->epoch = epoch;
  waiter->timeout = timeout;
  waiter->timer = center_.run_after(timeout, [this, waiter] { waiter_timed_out(waiter); });
  if (is_shutting_down_) {
    center_.post([this] { fail_waiters(); });
  } else if (epoch <= targeting_.epoch()) {
    center_.post([this] { wake_waiters(); });
  }
  return waiter;
}

void ObjecterImpl::waiter_timed_out(std::list<EpochWaiter>::iterator waiter) {
  EpochWaiter over = std::move(*waiter);
  waiters_.erase(waiter);
  if (over.map_done) over.map_done(failure(maps_.explain_no_map(over.timeout)));
  if (over.epoch_done) over.epoch_done(OsdErrc::kTimedOut);
}

void ObjecterImpl::wake_waiters() {
  // From the start again after each: done may add one, or a newer map may come inside.
  for (auto at = waiters_.begin(); at != waiters_.end();) {
    if (at->epoch > targeting_.epoch()) {
      ++at;
      continue;
    }
    EpochWaiter over = std::move(*at);
    waiters_.erase(at);
    center_.cancel(over.timer);
    if (over.map_done) over.map_done(targeting_.map());
    if (over.epoch_done) over.epoch_done({});
    at = waiters_.begin();
  }
}

void ObjecterImpl::fail_waiters() {
  while (!waiters_.empty()) {
    EpochWaiter over = std::move(waiters_.front());
    waiters_.pop_front();
    center_.cancel(over.timer);
    if (over.map_done) over.map_done(failure(OsdErrc::kShutdown, "shutting down"));
    if (over.epoch_done) over.epoch_done(OsdErrc::kShutdown);
  }
}

}  // namespace lunar::objecter
