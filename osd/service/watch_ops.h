// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "osd/ops/client_op.h"
#include "osd/watch/watch_table.h"

namespace lunar::osd {

// The ops of watches after the executor: it has given them their turn and seen whether the object
// exists, and here they are carried out and get their results.
// Loop-bound. Borrows the table.
class WatchOps {
 public:
  using Done = InlineFunction<void(ClientOpRef, OpResultRef)>;
  // `on_done` runs once for each op of run(), unless take_back() took it out: inside run(), and for
  // a NOTIFY later.
  WatchOps(WatchTable& table, Done on_done) : table_(table), on_done_(std::move(on_done)) {}

  // REQUIRES: it is an op of watches, and `executed` without error.
  void run(ClientOpRef op, const OpResult& executed);
  // Takes out a NOTIFY that waits for acks: true, and nothing of it will happen any more.
  bool take_back(const ClientOp& op) { return table_.take_back(&op); }

 private:
  void notify(ClientOpRef op);

  WatchTable& table_;
  Done on_done_;
};

}  // namespace lunar::osd
