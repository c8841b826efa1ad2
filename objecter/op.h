// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/intrusive/list.hpp>
#include <boost/intrusive/set.hpp>
#include <chrono>
#include <memory>
#include <optional>

#include "msgr/message.h"
#include "objecter/objecter.h"
#include "objecter/op_reasons.h"

namespace lunar::objecter {

class ServerConnection;
class OsdSession;
using ServerRef = std::shared_ptr<ServerConnection>;

struct InTable;
struct ByDeadline;
struct InQueue;
using Unlinks = boost::intrusive::link_mode<boost::intrusive::auto_unlink>;
using TableHook = boost::intrusive::set_base_hook<boost::intrusive::tag<InTable>>;
using DeadlineHook = boost::intrusive::set_base_hook<boost::intrusive::tag<ByDeadline>, Unlinks>;
using QueueHook = boost::intrusive::list_base_hook<boost::intrusive::tag<InQueue>, Unlinks>;

// Where an op is. Its queue follows from it: the throttle's, those that wait for a map, or its
// session's.
enum class OpState : uint8_t {
  kThrottled,    // waits for others in flight to end
  kWaitMap,      // waits for a newer map, or to hear that there is none
  kWaitSession,  // has its OSD; waits until that is up and said hello
  kSent,         // waits for the reply
  kAnswered,     // has its result; waits until its message is destroyed
  kEnding,       // timed out or cancelled; waits for withdraw() and the server's confirmation
};

// What an op's target is computed from.
enum class OpKind : uint8_t {
  kObject,       // the object's name
  kPg,           // request.object.pool and pg are given (LIST)
  kOsd,          // osd is given: one server's part of a flush
  kFlushParent,  // goes to no server; ends with its parts
};

// One op from submit() to done. Loop-bound; owned by the OpTable. Lives until nothing refers to
// request.data or request.read_into any more, which is when `done` runs.
struct Op : TableHook, DeadlineHook, QueueHook {
  using Clock = std::chrono::steady_clock;

  Tid tid = 0;
  OpKind kind = OpKind::kObject;
  OpState state = OpState::kWaitMap;
  ObjectOp request;
  OpDone done;
  Clock::time_point submitted;
  Clock::time_point deadline;
  uint64_t data_bytes = 0;    // of request.data
  uint64_t budget_bytes = 0;  // what it takes of max_in_flight_bytes
  bool has_budget = false;
  bool changes = false;        // some step changes the object
  bool is_repeatable = false;  // may be executed again by a server that does not remember it

  PgId pg;
  OsdId osd = -1;
  Epoch epoch = 0;  // of the map the target is from
  OsdSession* session = nullptr;
  uint32_t attempt = 0;     // sendings so far
  uint32_t encoded = 0;     // the last of them that a link has taken
  bool was_sent = false;    // in the life of the session's server that it was last sent to
  uint64_t map_ticket = 0;  // kWaitMap: the answer of MapClient::ask_newest() it waits for; or 0
  Epoch wait_epoch = 0;     // kWaitMap: the map it waits for; or 0
  ResendReason resend_reason = ResendReason::kNewMap;  // of the next sending
  Tid parent = 0;                                      // kOsd: its kFlushParent
  uint64_t flush_mark = 0;  // kOsd: UnflushedWrites::mark() when it was sent

  // Until all of these are zero, somebody may touch the request's buffers.
  uint32_t messages = 0;               // OpMessages that exist
  uint32_t withdrawals = 0;            // withdraw() calls not done
  std::optional<msgr::RemoteKey> key;  // the server may reach the buffer until it is taken back
  ServerRef key_server;                // to whom it was given
  bool is_revoking = false;            // the key is being taken back

  bool was_encoded = false;                      // once: from then on the data goes inline
  std::optional<DeliveryReason> inline_because;  // what the last answer said about the key

  // From kAnswered or kEnding on.
  OpReply result;
  bool awaits_confirmation = false;
  Clock::time_point confirm_until;               // … at the longest
  bool is_finished = false;                      // done runs soon
  std::optional<msgr::InMessage> reply_message;  // holds result.data

  // kFlushParent.
  uint32_t parts = 0;  // not done yet
  InlineFunction<void(std::error_code)> flush_done;

  bool buffers_are_free() const noexcept { return messages == 0 && withdrawals == 0 && !key; }
};

using OpQueue = boost::intrusive::list<Op, boost::intrusive::base_hook<QueueHook>,
                                       boost::intrusive::constant_time_size<false>>;

}  // namespace lunar::objecter
