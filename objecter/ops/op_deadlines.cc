// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_deadlines.h"

#include <algorithm>
#include <utility>

namespace lunar::objecter {

OpDeadlines::OpDeadlines(msgr::EventCenter& center, OnDue on_due)
    : center_(center), on_due_(std::move(on_due)) {}

void OpDeadlines::set(Op& op, OpTime deadline) {
  clear(op);
  op.deadline = deadline;
  by_deadline_.insert(by_deadline_.end(), op);
  arm();
}

void OpDeadlines::clear(Op& op) noexcept { static_cast<DeadlineHook&>(op).unlink(); }

const Op* OpDeadlines::first() const noexcept {
  return by_deadline_.empty() ? nullptr : &*by_deadline_.begin();
}

void OpDeadlines::stop() { center_.cancel(std::exchange(timer_, msgr::TimerId::kNone)); }

// A timer that comes too early, because its op has ended, is set anew when it fires.
void OpDeadlines::arm() {
  if (by_deadline_.empty()) return;
  const OpTime earliest = by_deadline_.begin()->deadline;
  if (timer_ != msgr::TimerId::kNone) {
    if (timer_at_ <= earliest) return;
    center_.cancel(timer_);
  }
  timer_at_ = earliest;
  timer_ = center_.run_after(std::max(earliest - center_.now(), OpTime::duration(0)), [this] {
    timer_ = msgr::TimerId::kNone;
    run_due();
    arm();
  });
}

void OpDeadlines::run_due() {
  const OpTime now = center_.now();
  while (!by_deadline_.empty() && by_deadline_.begin()->deadline <= now) {
    Op& op = *by_deadline_.begin();
    clear(op);
    on_due_(op, now);
  }
}

}  // namespace lunar::objecter
