// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <map>
#include <vector>

#include "common/unique_function.h"
#include "osd/ops/client_op.h"
#include "osd/ops/op_run.h"

namespace lunar::osd {

// Executes ops: those on one object in the order they came, a change or an op of its watches by
// itself, neighbouring reads together; those on different objects side by side. FLUSH and LIST wait
// for no object. Once the pool is short, ops that need buffers of it get them in the order in which
// they began to wait.
// Loop-bound. Owns ops from submit() until they end; borrows what the environment names.
class OpExecutor {
 public:
  using OnDone = InlineFunction<void(ClientOpRef, OpResultRef)>;
  // `on_done` runs once per submitted op, later, unless cancel() took it out.
  OpExecutor(const OpEnvironment& environment, OnDone on_done);
  ~OpExecutor();  // REQUIRES: is_idle()

  // REQUIRES: check_op() found nothing wrong with it.
  void submit(ClientOpRef op);
  // Takes those of the ops out that have not begun, all of them before another op begins in their
  // place. Returns them: nothing of them will happen.
  std::vector<ClientOpRef> cancel(const std::vector<ClientOpRef>& ops);
  // Pool buffers were given back: ops that waited for some may begin.
  void buffers_freed();

  bool is_idle() const noexcept { return running_ == 0 && queues_.empty(); }
  // Runs done once when is_idle(). Nothing may be submitted after it.
  void drain(UniqueFunction<void()> done);

 private:
  struct ObjectQueue {
    std::list<ClientOpRef> waiting;  // a deque would allocate twice for the first
    uint32_t running = 0;
    bool is_exclusive = false;  // the running op is: it is the only one
  };
  using Queues = std::map<ObjectId, ObjectQueue>;
  using Runs = std::list<OpRun>;

  void advance(Queues::iterator at) { advance(at, false); }
  bool advance(Queues::iterator at, bool has_turn);
  bool start(Queues::iterator at, const ClientOpRef& op);
  void on_run_done(Queues::iterator at, Runs::iterator run, ClientOpRef op, OpResultRef result);
  void flush(ClientOpRef op);
  void list(ClientOpRef op);
  void finish(ClientOpRef op, OpResultRef result);
  void wait_for_buffers(const ObjectId& id, ClientOp& op);
  void retry_later();

  const OpEnvironment env_;
  OnDone on_done_;
  Queues queues_;  // of those objects that an op waits for or runs on
  Runs runs_;
  std::size_t running_ = 0;            // runs, flushes and lists
  std::deque<ObjectId> buffer_queue_;  // their first op waits for buffers; in order
  msgr::TimerId retry_ = msgr::TimerId::kNone;
  UniqueFunction<void()> drained_;  // set by drain(), until idle
};

}  // namespace lunar::osd
