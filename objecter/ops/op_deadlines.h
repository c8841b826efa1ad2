// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "objecter/ops/op.h"

namespace lunar::objecter {

// The ops that have a deadline, and one timer for the earliest.
// Loop-bound to its center, which it borrows. Borrows the ops; one that is destroyed is forgotten.
class OpDeadlines {
 public:
  // `op` was due by `now` and has no deadline any more; it may be given another one after `now`.
  using OnDue = UniqueFunction<void(Op& op, OpTime now)>;

  OpDeadlines(msgr::EventCenter& center, OnDue on_due);
  ~OpDeadlines() { stop(); }

  // Replaces the deadline that the op has.
  void set(Op& op, OpTime deadline);
  static void clear(Op& op) noexcept;
  // The op with the earliest deadline; null if none has one.
  const Op* first() const noexcept;
  void stop();  // the timer; nothing is due from then on, until set()

 private:
  struct DueEarlier {
    bool operator()(const Op& a, const Op& b) const noexcept { return a.deadline < b.deadline; }
  };
  void arm();
  void run_due();

  msgr::EventCenter& center_;
  OnDue on_due_;
  boost::intrusive::multiset<Op, boost::intrusive::base_hook<DeadlineHook>,
                             boost::intrusive::compare<DueEarlier>,
                             boost::intrusive::constant_time_size<false>>
      by_deadline_;
  msgr::TimerId timer_ = msgr::TimerId::kNone;
  OpTime timer_at_{};  // not after the earliest deadline; good only while there is a timer
};

}  // namespace lunar::objecter
