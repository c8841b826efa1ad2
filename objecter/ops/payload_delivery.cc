// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/payload_delivery.h"

#include <algorithm>
#include <chrono>

#include "common/check.h"
#include "common/crc32c.h"
#include "objecter/ops/trace_reasons.h"
#include "objecter/servers/osd_session.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

bool is_slice_of(const msgr::RegisteredSlice& slice, ConstBytes memory) noexcept {
  if (slice.buffer == nullptr || memory.empty() || slice.length != memory.size()) return false;
  const Bytes buffer = slice.buffer->bytes();
  return slice.offset <= buffer.size() && slice.length <= buffer.size() - slice.offset &&
         buffer.data() + slice.offset == memory.data();
}

// All of the payload is contiguous, and is what the proposal names.
bool is_registered(const ObjectOp& object_op) noexcept {
  const auto& steps = object_op.steps;
  if (!object_op.data.empty()) {
    return object_op.data.size() == 1 && object_op.read_into.empty() &&
           is_slice_of(object_op.delivery.slice, object_op.data.front());
  }
  return steps.size() == 1 && steps.front().code == OpCode::kRead &&
         is_slice_of(object_op.delivery.slice, object_op.read_into);
}

PerfCounter& counter_of(ObjecterCounters& counters, DeliveryReason reason) noexcept {
  switch (reason) {
    case DeliveryReason::kEligible:
      return counters.one_sided;
    case DeliveryReason::kBelowThreshold:
      return counters.inline_below_threshold;
    case DeliveryReason::kOpKind:
      return counters.inline_op_kind;
    case DeliveryReason::kForeignMemory:
      return counters.inline_foreign_memory;
    case DeliveryReason::kPeerLacks:
      return counters.inline_peer_lacks;
    case DeliveryReason::kResend:
      return counters.inline_resend;
    case DeliveryReason::kNoKey:
      return counters.inline_no_key;
    case DeliveryReason::kRetryInline:
      return counters.inline_retry;
    case DeliveryReason::kDamaged:
      return counters.inline_damaged;
    case DeliveryReason::kLinkLacks:
      return counters.inline_link_lacks;
    default:
      return counters.inline_not_registered;
  }
}

}  // namespace

PayloadDelivery::PayloadDelivery(msgr::EventCenter& center, OpTable& table,
                                 ObjecterCounters& counters, OpEvents& events, bool crc_data)
    : center_(center), table_(table), counters_(counters), events_(events), crc_data_(crc_data) {}

DeliveryReason PayloadDelivery::decide_reason(const Op& op, const msgr::Link& link) const {
  const DeliveryProposal& proposal = op.object_op.delivery;
  if (proposal.delivery == Delivery::kInline) {
    return proposal.reason == DeliveryReason::kEligible ? DeliveryReason::kLinkLacks
                                                        : proposal.reason;
  }
  if (op.inline_because) return *op.inline_because;
  const bool is_wanted = op.state == OpState::kSent && op.session != nullptr;
  if (op.was_encoded || op.key || !is_wanted) return DeliveryReason::kResend;
  if (!is_registered(op.object_op)) return DeliveryReason::kNotRegistered;
  const msgr::LinkCapabilities& can = link.capabilities();
  if (!can.one_sided || can.max_fragment_bytes < DeliveryDescriptor::kMinFragmentBytes) {
    return DeliveryReason::kLinkLacks;
  }
  return op.session->server()->connection().peer().one_sided ? DeliveryReason::kEligible
                                                             : DeliveryReason::kPeerLacks;
}

std::optional<DeliveryDescriptor> PayloadDelivery::decide(Op& op, msgr::Link& link,
                                                          uint64_t link_generation) {
  const ObjectOp& object_op = op.object_op;
  if (object_op.data.empty() && object_op.read_into.empty()) return std::nullopt;
  // A newer link of the session is there only after the key's own is closed.
  const bool is_key_here =
      op.key && !op.is_revoking && op.session != nullptr && op.key_holder == op.session->server();
  if (is_key_here && op.key->link_generation != link_generation) key_is_back(op);
  DeliveryReason reason = decide_reason(op, link);
  std::optional<DeliveryDescriptor> delivery;
  if (reason == DeliveryReason::kEligible) {
    const bool pulls = !object_op.data.empty();
    const auto access = pulls ? msgr::RemoteAccess::kRead : msgr::RemoteAccess::kWrite;
    Result<msgr::RemoteKey> key = link.expose(object_op.delivery.slice, access);
    if (key) {
      key->link_generation = link_generation;
      op.key = *key;
      op.key_holder = op.session->server();
      counters_.keys_out.inc();
      delivery = make_descriptor(op, link);
    } else {
      const bool is_foreign = key.error() == std::errc::operation_not_supported;
      reason = is_foreign ? DeliveryReason::kForeignMemory : DeliveryReason::kNoKey;
    }
  }
  op.was_encoded = true;
  op.result.delivery = delivery ? Delivery::kOneSided : Delivery::kInline;
  op.result.delivery_reason = reason;
  counter_of(counters_, reason).add();
  LUNAR_TRACE(lunar_objecter, op_delivery, object_op.io_id, op.tid, op.attempt,
              trace_value(op.result.delivery), trace_value(reason),
              static_cast<uint64_t>(op.data_bytes + object_op.read_into.size()));
  return delivery;
}

DeliveryDescriptor PayloadDelivery::make_descriptor(const Op& op, const msgr::Link& link) const {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(op.deadline - center_.now()).count();
  const uint32_t proposed = op.object_op.delivery.fragment_bytes;
  const uint32_t at_most =
      std::min(link.capabilities().max_fragment_bytes, DeliveryDescriptor::kMaxFragmentBytes);
  DeliveryDescriptor delivery;
  delivery.link_generation = op.key->link_generation;
  delivery.lease_ms = static_cast<uint32_t>(std::clamp<int64_t>(left, 1, UINT32_MAX));
  delivery.has_crc = crc_data_;
  delivery.fragment_bytes = std::clamp(proposed == 0 ? at_most : proposed,
                                       DeliveryDescriptor::kMinFragmentBytes, at_most);
  delivery.ranges.push_back({op.key->addr, op.key->length, op.key->rkey});
  if (op.object_op.data.empty()) {
    delivery.access = DeliveryAccess::kPush;
    return delivery;
  }
  if (!crc_data_) return delivery;
  for (ConstBytes rest = op.object_op.data.front(); !rest.empty();) {
    const ConstBytes fragment =
        rest.first(std::min<std::size_t>(rest.size(), delivery.fragment_bytes));
    delivery.crcs.push_back(crc32c(0, fragment));
    rest = rest.subspan(fragment.size());
  }
  return delivery;
}

void PayloadDelivery::revoke(Op& op) {
  if (!op.key || op.is_revoking) return;
  op.is_revoking = true;
  counters_.keys_revoked.add();
  // The callback keeps the connection until it is done.
  op.key_holder->connection().revoke(*op.key, [this, tid = op.tid, holder = op.key_holder] {
    Op* op = table_.find(tid);
    LUNAR_CHECK(op != nullptr && op->is_revoking, "an op ended before its key was back");
    key_is_back(*op);
    events_.on_buffers_returned(*op);
  });
}

void PayloadDelivery::on_server_through(Op& op, const ServerRef& server, uint64_t link_generation) {
  if (!op.key || op.is_revoking) return;
  if (op.key_holder != server || op.key->link_generation != link_generation) return revoke(op);
  op.key_holder->connection().revoke(*op.key, {});
  key_is_back(op);
}

void PayloadDelivery::key_is_back(Op& op) {
  op.key.reset();
  op.key_holder.reset();
  op.is_revoking = false;
  counters_.keys_out.dec();
}

// A server that was asked for a checksum and gives none may have pushed anything.
bool PayloadDelivery::is_damaged(const Op& op, const OsdReplyHeader& header) const {
  if (!header.is_pushed) return false;
  if (!header.push_crc) return crc_data_;
  return crc32c(0, op.object_op.read_into) != *header.push_crc;
}

}  // namespace lunar::objecter
