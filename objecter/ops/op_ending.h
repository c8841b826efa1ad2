// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <system_error>
#include <vector>

#include "msgr/event_center.h"
#include "objecter/ops/counters.h"
#include "objecter/ops/op.h"
#include "objecter/ops/op_deadlines.h"
#include "objecter/ops/op_events.h"
#include "objecter/ops/op_table.h"
#include "objecter/ops/payload_delivery.h"
#include "objecter/ops/unconfirmed_changes.h"

namespace lunar::objecter {

// How an op ends. `done` runs when it has a result and nobody can touch its buffers any more: its
// messages are destroyed, every withdraw() is done, and no server has a key to them. A change that
// timed out or was cancelled also waits, up to cancel_grace, for its server's word that it is not
// executing. With that word the server is through with the buffer too; without it, the key is
// revoked after rkey_revoke_timeout.
//
// What ends without that word is kept in UnconfirmedChanges.
//
// An op that must not be done twice (Op::is_repeatable) and may be executed ends with
// kUnknownOutcome, unless the server says in time what became of it.
//
// done always runs from a function posted to the loop, so never inside submit() or cancel(), nor
// inside the messenger.
//
// Loop-bound. Borrows all it is given. Owns the list of ops whose done is due.
class OpEnding {
 public:
  struct Limits {
    std::chrono::nanoseconds cancel_grace;
    std::chrono::nanoseconds rkey_revoke_timeout;
  };
  OpEnding(msgr::EventCenter& center, OpTable& table, OpDeadlines& deadlines,
           PayloadDelivery& delivery, UnconfirmedChanges& unconfirmed, ObjecterCounters& counters,
           OpEvents& events, Limits limits);

  // Takes the op's buffers back from the connection it was sent on, and from whoever has a key.
  void take_back_buffers(Op& op);
  // The first of the two only: its key is back.
  void withdraw(Op& op);

  // The op goes to another server, and its present one, which lives, may be executing it: asks that
  // one to give it up. kMoving until its word comes, or it turns out to be gone.
  void give_up(Op& op);

  // Ends the op with this error, whether its server executes it or not.
  void end(Op& op, std::error_code error);
  // Ends the op early: if its server may be executing it, only after the server's word or
  // cancel_grace. An op that has its result is left alone, unless `error` is kShutdown, which
  // waits for no server.
  void interrupt(Op& op, std::error_code error, CancelReason reason);
  // The server's word has come, or can no more.
  void confirm(Op& op);
  // The server's word is that it has not executed the op, and will not.
  void confirm_not_executed(Op& op);
  // An op in kAnswered or kEnding may have become free to finish.
  void finish_if_free(Op& op);
  // For OpDeadlines.
  void on_due(Op& op, OpTime now);

  // No op waits for its done to run.
  bool is_idle() const noexcept { return !is_finish_posted_; }

 private:
  void interrupt_server_flushes(Tid pool_flush, std::error_code error, CancelReason reason);
  void run_finished();
  void finish(Op& op);

  msgr::EventCenter& center_;
  OpTable& table_;
  OpDeadlines& deadlines_;
  PayloadDelivery& delivery_;
  UnconfirmedChanges& unconfirmed_;
  ObjecterCounters& counters_;
  OpEvents& events_;
  const Limits limits_;
  std::vector<Op*> finished_;      // is_finished, in this order; empty unless is_finish_posted_
  std::vector<Op*> finishing_;     // while run_finished() drains them; empty at all other times
  bool is_finish_posted_ = false;  // run_finished() will be called
};

}  // namespace lunar::objecter
