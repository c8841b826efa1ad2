// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_table.h"

#include "common/check.h"

namespace lunar::objecter {

OpTable::~OpTable() { LUNAR_CHECK(is_empty(), "an OpTable is destroyed with ops in it"); }

Op& OpTable::add() {
  Op* op = nullptr;
  if (spare_.empty()) {
    op = new Op;
  } else {
    op = spare_.back().release();
    spare_.pop_back();
  }
  op->tid = next_tid_++;
  by_tid_.insert(by_tid_.end(), *op);
  return *op;
}

void OpTable::remove(Op& op) noexcept {
  LUNAR_CHECK(op.are_buffers_free(), "an op ends while its buffers are in use");
  static_cast<DeadlineHook&>(op).unlink();
  leave_queue(op);
  by_tid_.erase(by_tid_.iterator_to(op));
  if (op.has_budget) {
    --in_flight_ops_;
    in_flight_bytes_ -= op.budget_bytes;
    op.has_budget = false;
  }
}

void OpTable::recycle(Op& op) {
  std::unique_ptr<Op> owned(&op);
  if (spare_.size() >= limits_.ops) return;
  // Fields one by one would be forgotten when one is added: make it anew in place.
  op.~Op();
  ::new (static_cast<void*>(&op)) Op;
  spare_.push_back(std::move(owned));
}

Op* OpTable::find(Tid tid) noexcept {
  const auto at = by_tid_.find(tid);
  return at == by_tid_.end() ? nullptr : &*at;
}

bool OpTable::fits(const Op& op) const noexcept {
  if (in_flight_ops_ == 0) return true;
  return in_flight_ops_ < limits_.ops && op.budget_bytes <= limits_.bytes &&
         in_flight_bytes_ <= limits_.bytes - op.budget_bytes;
}

void OpTable::take(Op& op) noexcept {
  ++in_flight_ops_;
  in_flight_bytes_ += op.budget_bytes;
  op.has_budget = true;
}

bool OpTable::admit(Op& op) {
  if (throttled_.empty() && fits(op)) {
    take(op);
    return true;
  }
  op.state = OpState::kThrottled;
  throttled_.push_back(op);
  return false;
}

Op* OpTable::next_admitted() {
  if (throttled_.empty() || !fits(throttled_.front())) return nullptr;
  Op& op = throttled_.front();
  throttled_.pop_front();
  take(op);
  return &op;
}

}  // namespace lunar::objecter
