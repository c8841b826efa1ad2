// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "msgr/message.h"
#include "objecter/cluster/server_connection.h"
#include "objecter/objecter.h"
#include "objecter/ops/op_reasons.h"

namespace lunar::objecter {

class OsdSession;

using OpTime = std::chrono::steady_clock::time_point;

struct InTable;
struct ByDeadline;
struct InQueue;
using Unlinks = boost::intrusive::link_mode<boost::intrusive::auto_unlink>;
using TableHook = boost::intrusive::set_base_hook<boost::intrusive::tag<InTable>>;
using DeadlineHook = boost::intrusive::set_base_hook<boost::intrusive::tag<ByDeadline>, Unlinks>;
using QueueHook = boost::intrusive::list_base_hook<boost::intrusive::tag<InQueue>, Unlinks>;

// Where an op is. An op is in at most one queue, which follows from its state.
//
//   state         queue                       session   also
//   kThrottled    OpTable, throttled          null      no budget, never sent
//   kWaitMap      OpSubmission, waiting       null      of wait_epoch and map_ticket at most one
//   kWaitSession  its session's               set       not in any link's hands, unless withdrawn
//   kSent         its session's               set       attempt > 0, was_sent
//   kMoving       its session's               set       may_be_executed(), changes
//   kAnswered     its session's               set       result is the server's
//   kEnding       its session's, if it has    any       result.error is set
//
// A kPoolFlush that has begun is kWaitSession without session and queue until its last server
// answered.
enum class OpState : uint8_t {
  kThrottled,    // waits for others in flight to end
  kWaitMap,      // waits for a newer map, or to hear that there is none
  kWaitSession,  // has its OSD; waits until that is up and said hello, or for its buffers
  kSent,         // waits for the reply
  kMoving,       // belongs to another server now; waits for its old one to give it up
  kAnswered,     // has its result; waits until its message is destroyed
  kEnding,       // timed out or cancelled; waits for withdraw() and the server's confirmation
};

// What an op's target is computed from.
enum class OpKind : uint8_t {
  kObject,       // the object's name
  kOfWatches,    // as kObject, but never throttled
  kPg,           // object_op.object.pool and pg are given (LIST)
  kServerFlush,  // osd is given: the FLUSH of one server, on behalf of a kPoolFlush
  kPoolFlush,    // goes to no server; ends with the last of its kServerFlush
};

// One op from submit() to done. Loop-bound; owned by the OpTable. Lives until nothing refers to
// object_op.data or object_op.read_into any more, which is when `done` runs.
struct Op : TableHook, DeadlineHook, QueueHook {
  // --- from OpSubmission::add() on; constant after it, but for state and deadline ---

  Tid tid = 0;
  OpKind kind = OpKind::kObject;
  OpState state = OpState::kWaitMap;
  ObjectOp object_op;
  OpDone done;
  OpTime submitted;
  OpTime deadline;             // of the op; in kEnding, of the wait for the server's word
  uint64_t data_bytes = 0;     // of object_op.data
  uint64_t budget_bytes = 0;   // what it takes of max_in_flight_bytes
  bool changes = false;        // some step changes the object
  bool is_repeatable = false;  // may be executed again by a server that does not remember it
  bool has_budget = false;     // OpTable counts it as in flight; only a kObject ever has

  // --- where it goes (OpSubmission) ---

  PgId pg;
  OsdId osd = -1;
  Epoch epoch = 0;                // of the map the target is from
  OsdSession* session = nullptr;  // see OpState
  uint64_t map_ticket = 0;        // kWaitMap: MapClient::ask_newest() that it waits for; or 0
  Epoch wait_epoch = 0;           // kWaitMap: the map it waits for; or 0

  // --- its sendings (OsdSessions, OpMessage) ---

  uint32_t attempt = 0;    // sendings so far
  uint32_t encoded = 0;    // the last of them that a link has taken; at most `attempt`
  uint32_t ruled_out = 0;  // those up to this one were not executed; at most `attempt`
  bool was_sent = false;   // its OSD may have executed it: an attempt went there, and neither an
                           // answer nor a new process of the server has ruled that out
  uint64_t sent_to = 0;    // the incarnation of the server that the last attempt went to; or 0
  ResendReason resend_reason = ResendReason::kNewMap;  // of the next sending, if attempt > 0
  uint64_t flush_mark = 0;  // kServerFlush: UnflushedWrites::mark() when it was sent

  // --- who may touch the buffers of object_op: nobody if are_buffers_free() ---

  uint32_t messages = 0;     // OpMessages that exist
  uint32_t withdrawals = 0;  // withdraw() calls not done; at most 1
  // Of PayloadDelivery. While there is a key its holder may reach the buffer.
  std::optional<msgr::RemoteKey> key;
  ServerRef key_holder;                          // null unless there is a key
  bool is_revoking = false;                      // revoke() is not done; only with a key
  bool was_encoded = false;                      // never false again: then the data goes inline
  std::optional<DeliveryReason> inline_because;  // what the last answer said about the key

  // --- how it ends (OpEnding): from kAnswered or kEnding on ---

  OpReply result;              // of a kPoolFlush: the first error so far
  std::error_code end_reason;  // kEnding: what it ends with if it turns out not to be executed
  std::optional<msgr::InMessage> reply_message;  // holds result.data, if that is not empty
  bool awaits_confirmation = false;              // kEnding: the server may still be executing it
  OpTime confirm_until;      // … at the longest; only with awaits_confirmation
  bool is_finished = false;  // done runs soon; implies are_buffers_free()

  // --- FLUSH (PoolFlush) ---

  Tid pool_flush = 0;                // kServerFlush: on whose behalf
  uint32_t server_flushes_left = 0;  // kPoolFlush: not done yet
  Objecter::LossHearer loss_hearer = Objecter::LossHearer::kInitiator;  // of a kPoolFlush

  bool are_buffers_free() const noexcept { return messages == 0 && withdrawals == 0 && !key; }
  // Its server may have executed it, or may yet: no answer has ruled that out, and a link has taken
  // an attempt.
  bool may_be_executed() const noexcept { return was_sent && encoded > ruled_out; }
  bool has_result() const noexcept {
    return state == OpState::kAnswered || state == OpState::kEnding;
  }
};

using OpQueue = boost::intrusive::list<Op, boost::intrusive::base_hook<QueueHook>,
                                       boost::intrusive::constant_time_size<false>>;

// Takes the op out of the queue it is in, if any.
inline void leave_queue(Op& op) noexcept { static_cast<QueueHook&>(op).unlink(); }

}  // namespace lunar::objecter
