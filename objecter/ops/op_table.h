// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <vector>

#include "objecter/ops/op.h"

namespace lunar::objecter {

// All ops that have not ended, by tid, and how many of them may be in flight.
// Loop-bound. Owns the ops, and keeps ended ones for reuse, so that an op costs no allocation here.
class OpTable {
 public:
  struct Limits {
    uint32_t ops = 1024;
    uint64_t bytes = 100u << 20;
  };
  explicit OpTable(Limits limits) noexcept : limits_(limits) {}
  ~OpTable();  // REQUIRES: is_empty()

  // A new op with the next tid, in no queue.
  Op& add();
  // A tid for something that is no op.
  Tid take_tid() noexcept { return next_tid_++; }
  // The op ends: gives back what it had in flight. It is in no queue and unknown afterwards, but
  // stays valid until recycle().
  void remove(Op& op) noexcept;
  void recycle(Op& op);

  Op* find(Tid tid) noexcept;
  bool is_empty() const noexcept { return by_tid_.empty(); }
  std::size_t size() const noexcept { return by_tid_.size(); }
  // Calls fn(Op&) in the order of tids. fn may add ops, and remove the one it is given.
  template <typename Fn>
  void for_each(Fn&& fn) {
    for (auto at = by_tid_.begin(); at != by_tid_.end();) fn(*at++);
  }
  template <typename Fn>
  void for_each(Fn&& fn) const {
    for (const Op& op : by_tid_) fn(op);
  }

  // Takes part of the limits, or puts the op behind those that wait. One op alone always goes.
  bool admit(Op& op);
  // The first that waits, if it may go now; it has its part of the limits then.
  Op* next_admitted();
  uint64_t in_flight_ops() const noexcept { return in_flight_ops_; }
  uint64_t in_flight_bytes() const noexcept { return in_flight_bytes_; }

 private:
  struct TidOf {
    using type = Tid;
    Tid operator()(const Op& op) const noexcept { return op.tid; }
  };
  bool fits(const Op& op) const noexcept;
  void take(Op& op) noexcept;

  const Limits limits_;
  Tid next_tid_ = 1;
  boost::intrusive::set<Op, boost::intrusive::base_hook<TableHook>,
                        boost::intrusive::key_of_value<TidOf>>
      by_tid_;
  OpQueue throttled_;                       // kThrottled, in submit order
  uint64_t in_flight_ops_ = 0;              // those with has_budget
  uint64_t in_flight_bytes_ = 0;            // the sum of their budget_bytes
  std::vector<std::unique_ptr<Op>> spare_;  // as new; at most limits_.ops
};

}  // namespace lunar::objecter
