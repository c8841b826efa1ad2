// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "msgr/buffer.h"
#include "msgr/connection.h"
#include "msgr/fair_shares.h"
#include "msgr/message.h"
#include "objecter/protocol/osd_map.h"
#include "osd/object_data.h"
#include "osd/records/client_name.h"
#include "osd/records/wire_error.h"

namespace lunar::osd {

using objecter::Epoch;
using objecter::ObjectVersion;
using objecter::OpCode;
using objecter::OsdOpHeader;
using objecter::OsdReplyHeader;
using objecter::PoolId;
using objecter::SubOp;
using objecter::SubOpResult;
using objecter::Tid;

// Data of a reply: either a pool buffer that the store filled, or a few bytes of our own.
struct ReplyData {
  msgr::RegisteredBuffer buffer;
  std::vector<std::byte> small;
  std::size_t length = 0;  // of `buffer`, used from its start

  ConstBytes view() const noexcept {
    return buffer ? ConstBytes(buffer.bytes().first(length)) : ConstBytes(small);
  }
};

// How an op ended. Immutable once shared; the reply on its way and the session that remembers it
// own it together.
struct OpResult {
  OsdReplyHeader header;  // epoch, attempt and verifier are filled in when it is sent
  std::vector<ReplyData> data;

  std::size_t data_bytes() const noexcept {
    std::size_t total = 0;
    for (const ReplyData& each : data) total += each.view().size();
    return total;
  }
  // The memory that it keeps, of which the data may be a part.
  std::size_t held_bytes() const noexcept {
    std::size_t total = 0;
    for (const ReplyData& each : data)
      total += each.buffer ? each.buffer.bytes().size() : each.small.size();
    return total;
  }
};
using OpResultRef = std::shared_ptr<const OpResult>;

// Where an op is, for people: ops in flight, slow ops.
enum class ClientOpState : uint8_t { kArrived, kHeld, kQueued, kExecuting, kDone };

// One op on its way through the server, from its message to its reply. Owns the message, and so
// the payload and its share of the dispatch throttle, until the op has ended.
// Loop-bound. Shared by its session, the executor and the store's callbacks.
struct ClientOp {
  OsdOpHeader header;
  msgr::InMessage message;
  ObjectId object;  // name empty for FLUSH and LIST
  std::shared_ptr<const ClientName> client;
  objecter::OsdMapRef map;                              // that its target was checked against
  uint64_t session = 0;                                 // id in ClientSessions
  uint64_t nonce = 0;                                   // of its client's start
  std::weak_ptr<msgr::RemoteMemory> client_memory;      // of the connection that brought it
  msgr::RegisteredBuffer staged;                        // a payload that was pulled whole
  std::chrono::steady_clock::time_point waiting_since;  // for buffers; 0 if never
  std::chrono::steady_clock::time_point arrived;
  // What its reply may hold, from its beginning until the reply has let go of its data; once it has
  // ended, what the reply does hold. Null if its reply has no data, and for a NOTIFY until it ends.
  std::shared_ptr<msgr::FairShares::Held> reply_share;
  ClientOpState state = ClientOpState::kArrived;
  bool is_given_up = false;  // cancelled or fenced while it executes
  bool is_absent_lost =
      false;  // if its object does not exist here, it is lost (OsdInfo::lost_below)

  ConstBytes data() const noexcept { return staged ? ConstBytes(staged.bytes()) : message.data; }
  // True if its payload is in the client's memory.
  bool pulls() const noexcept {
    return header.delivery && header.delivery->access == objecter::DeliveryAccess::kPull;
  }
  std::size_t payload_bytes() const noexcept {
    return pulls() ? header.delivery->bytes() : message.data.size();
  }
  // Whether the client's keys of this link may be used: the link brought the op and is still up,
  // the client understands delivery descriptors, and it still waits for the op. It revokes the keys
  // of an op that it has given up, and using a revoked key ends the link for everybody on it.
  bool may_use_keys(uint64_t generation) const noexcept {
    const auto memory = client_memory.lock();
    return !is_given_up && message.link_generation == generation && memory != nullptr &&
           memory->link_generation() == generation && memory->link_capabilities().one_sided;
  }
  // How long it has waited for buffers: since the first call.
  std::chrono::nanoseconds waited_for_buffers(std::chrono::steady_clock::time_point now) noexcept {
    if (waiting_since == std::chrono::steady_clock::time_point()) waiting_since = now;
    return now - waiting_since;
  }
  bool lease_is_over(std::chrono::steady_clock::time_point now) const noexcept {
    return header.delivery && now - arrived > std::chrono::milliseconds(header.delivery->lease_ms);
  }
  // Bytes of data that its reply has at most, whatever memory they are in.
  uint64_t reply_bytes() const noexcept {
    uint64_t bytes = 0;
    for (const SubOp& step : header.steps) bytes += objecter::max_reply_bytes(step);
    return bytes;
  }
  // Whose op it is; that of the server itself has none.
  const std::string& entity() const noexcept {
    static const std::string none;
    return client == nullptr ? none : client->entity;
  }
  uint64_t io_id() const noexcept { return message.meta.trace_id; }
  bool is(OpCode code) const noexcept {
    return header.steps.size() == 1 && header.steps[0].code == code;
  }
  // What its reply says can be had again: it changes nothing, and tells nobody anything. False for
  // an op without steps, which stands for one that is gone or could not be read.
  bool is_repeatable() const noexcept {
    for (const SubOp& step : header.steps) {
      const bool tells = objecter::is_of_watches(step.code) && step.code != OpCode::kListWatchers;
      if (objecter::changes_object(step.code) || step.code == OpCode::kFlush || tells) return false;
    }
    return !header.steps.empty();
  }
  bool is_metadata() const noexcept { return (header.flags & objecter::kOpMetadata) != 0; }
  bool is_of_watches() const noexcept { return objecter::is_of_watches(header.steps.front().code); }
  // If it succeeds, the object does not exist after it.
  bool is_deletion() const noexcept { return header.steps.back().code == OpCode::kDelete; }
  // Nothing else may happen to its object meanwhile: it changes it, or what others see of it.
  bool is_exclusive() const noexcept { return is_of_watches() || changes(); }
  bool changes() const noexcept {
    for (const SubOp& step : header.steps)
      if (objecter::changes_object(step.code)) return true;
    return false;
  }
};
using ClientOpRef = std::shared_ptr<ClientOp>;

// A result without data, for an op that ends before it was executed.
OpResultRef make_error_result(const ClientOp& op, OsdErrc error);

}  // namespace lunar::osd
