// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_replies.h"

#include <algorithm>
#include <utility>

#include "common/copy_bytes.h"
#include "common/log.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

// Whether a restart of the server could lose what was acknowledged.
bool is_unflushed_write(const Op& op, const OsdMapRef& map) noexcept {
  if (!op.changes || op.object_op.image == 0 || (op.object_op.flags & kOpMetadata) != 0)
    return false;
  // What RADOS acknowledges is durable, and no FLUSH follows.
  if (map->is_in_rados(op.object_op.object.pool)) return false;
  return std::any_of(op.object_op.steps.begin(), op.object_op.steps.end(), [](const SubOp& step) {
    return changes_object(step.code) && (step.flags & kFua) == 0;
  });
}

// Whether the op waits for the answer to that sending. One that is ending or moving takes the
// answer to any: what a server remembers of an op is the same for all of them.
bool is_due(const Op& op, const OsdReplyHeader& header) noexcept {
  if (op.state == OpState::kEnding || op.state == OpState::kMoving)
    return header.attempt <= op.attempt;
  return op.state == OpState::kSent && op.attempt == header.attempt && op.encoded == op.attempt;
}

// Whether an op that must not be done twice may have been carried out, or half of it, although its
// server answers with an error: none of the steps before the first change is what failed.
bool may_be_half_done(const Op& op, const OsdReplyHeader& header) noexcept {
  if (header.error != OsdErrc::kIoError || op.is_repeatable ||
      (op.object_op.flags & kOpMetadata) != 0)
    return false;
  const auto& asked = op.object_op.steps;
  for (std::size_t i = 0; i < std::min(asked.size(), header.steps.size()); ++i) {
    if (changes_object(asked[i].code)) return true;
    if (header.steps[i].error != OsdErrc::kOk) return false;
  }
  return false;
}

// Whether a server that answers so has not executed the op.
bool was_not_executed(OsdErrc error) noexcept {
  return error == OsdErrc::kStaleMap || error == OsdErrc::kRetryInline ||
         error == OsdErrc::kCancelled;
}

// Whether the reply is one that this op can have.
bool fits(const Op& op, const OsdReplyHeader& header, const msgr::InMessage& message) {
  const auto& asked = op.object_op.steps;
  if (header.steps.size() > asked.size()) return false;
  const bool is_ok = header.error == OsdErrc::kOk;
  if (is_ok && header.steps.size() != asked.size()) return false;
  for (std::size_t i = 0; i < header.steps.size(); ++i) {
    const SubOpResult& step = header.steps[i];
    if (step.data_length > max_reply_bytes(asked[i])) return false;
    if (!is_ok) continue;
    if (step.error != OsdErrc::kOk) return false;
    const bool is_range = asked[i].code == OpCode::kRead && asked[i].length > 0;
    if (is_range && step.data_length != asked[i].length) return false;
  }
  // payload_for() compared what it could see; the header was checked again when it was whole.
  // Only into memory whose key is out, on the link that brings the reply.
  if (header.is_pushed && (!op.key || op.key->link_generation != message.link_generation ||
                           op.object_op.read_into.empty())) {
    return false;
  }
  const bool is_placed =
      !message.data.empty() && message.data.data() == op.object_op.read_into.data();
  return !is_placed || is_ok;
}

}  // namespace

OpReplies::OpReplies(OpTable& table, PayloadDelivery& delivery, OpEnding& ending,
                     UnconfirmedChanges& unconfirmed, OsdSessions& sessions,
                     OpSubmission& submission, MapClient& maps, ObjecterCounters& counters) noexcept
    : table_(table),
      delivery_(delivery),
      ending_(ending),
      unconfirmed_(unconfirmed),
      sessions_(sessions),
      submission_(submission),
      maps_(maps),
      counters_(counters) {}

Bytes OpReplies::payload_for(msgr::Connection& connection, const msgr::MessageMeta& meta,
                             ConstBytes front, std::size_t data_bytes) {
  if (meta.type != static_cast<uint16_t>(MessageType::kOsdOpReply)) return {};
  Op* op = table_.find(meta.tid);
  if (op == nullptr || op->state != OpState::kSent || op->withdrawals != 0) return {};
  const Bytes into = op->object_op.read_into;
  if (into.empty() || into.size() != data_bytes) return {};
  if (&op->session->server()->connection() != &connection) return {};
  // The beginning of OsdReplyHeader. All of it is checked once the message is whole.
  ByteReader r(front);
  const bool is_due = r.get<Tid>() == op->tid && r.get<uint32_t>() == op->attempt &&
                      r.get<int32_t>() == static_cast<int32_t>(OsdErrc::kOk);
  return is_due && r.ok() ? into : Bytes{};
}

// If the op has ended without it, its server is through with it now.
void OpReplies::take_word(const ServerConnection& server, const OsdReplyHeader& header) {
  if (server.hello()) unconfirmed_.on_word(server.hello()->osd, header.tid, header.attempt);
}

void OpReplies::ignore(const msgr::InMessage& message, const char* why) {
  counters_.reply_ignored.add();
  LUNAR_LOG(kObjecter, 5, "reply to tid {} ignored: {}", message.meta.tid, why);
}

void OpReplies::on_op_reply(const ServerRef& server, msgr::InMessage message) {
  auto header = decode_osd_reply(message.front, message.data.size());
  if (!header) return ignore(message, "it breaks the protocol");
  maps_.want(header->epoch, *server);
  take_word(*server, *header);
  Op* op = header->tid == message.meta.tid ? table_.find(header->tid) : nullptr;
  if (op == nullptr || op->session == nullptr || op->session->server() != server ||
      !is_due(*op, *header))
    return ignore(message, "it answers nothing that was asked");
  if (!fits(*op, *header, message)) return ignore(message, "its lengths are wrong");
  counters_.op_reply.add();
  counters_.op_reply_bytes.add(message.data.size());
  LUNAR_TRACE(lunar_objecter, op_reply, op->object_op.io_id, op->tid, op->attempt, op->osd,
              static_cast<int32_t>(header->error), header->bytes_inline, header->bytes_one_sided);
  delivery_.on_server_through(*op, server, message.link_generation);
  if (op->state == OpState::kEnding) {
    take_late(*op, std::move(*header));
  } else if (op->state == OpState::kMoving && was_not_executed(header->error)) {
    // Of an older sending; or CANCELLED follows.
    if (header->attempt == op->encoded) submission_.on_given_up(*op);
  } else if (header->error == OsdErrc::kStaleMap || header->error == OsdErrc::kRetryInline) {
    retry(*op, *header);
  } else if (delivery_.is_damaged(*op, *header)) {
    retry_inline(*op, DeliveryReason::kDamaged);
  } else {
    take(*op, std::move(*header), std::move(message));
  }
}

// The server did not execute it, and says what must change first.
void OpReplies::retry(Op& op, const OsdReplyHeader& header) {
  op.was_sent = false;
  op.ruled_out = op.attempt;
  if (header.error == OsdErrc::kRetryInline) return retry_inline(op, DeliveryReason::kRetryInline);
  ending_.withdraw(op);  // it may have answered before it acknowledged
  submission_.retry_with_newer_map(op, header.epoch);
}

void OpReplies::retry_inline(Op& op, DeliveryReason because) {
  PayloadDelivery::forbid(op, because);
  op.state = OpState::kWaitSession;
  op.resend_reason = ResendReason::kRetryInline;
  sessions_.try_send(op);
}

void OpReplies::take(Op& op, OsdReplyHeader header, msgr::InMessage message) {
  op.state = OpState::kAnswered;
  op.result.error = account(op, header);
  op.result.version = header.version;
  op.result.bytes_inline = header.bytes_inline;
  op.result.bytes_one_sided = header.bytes_one_sided;
  counters_.one_sided_bytes.add(header.bytes_one_sided);
  op.result.steps = std::move(header.steps);
  const Bytes into = op.object_op.read_into;
  if (message.data.empty() || message.data.data() == into.data()) {
    // Nothing to keep.
  } else if (!into.empty() && header.error == OsdErrc::kOk) {
    copy_bytes(into.data(), message.data.data(), into.size());
    counters_.payload_copied.add(into.size());
  } else {
    op.reply_message.emplace(std::move(message));
    op.result.data = op.reply_message->data;
  }
  ending_.finish_if_free(op);
}

// It timed out or was cancelled, but its server has an answer. That of a change is worth more than
// "may have been applied"; that of a read has lost its data.
void OpReplies::take_late(Op& op, OsdReplyHeader header) {
  const bool was_executed = !was_not_executed(header.error) || header.error == OsdErrc::kCancelled;
  if (!was_executed && header.attempt == op.encoded) return ending_.confirm_not_executed(op);
  if (was_executed && (op.changes || op.kind == OpKind::kServerFlush)) {
    op.result.error = account(op, header);
    op.result.reason = {};
    op.result.version = header.version;
    op.result.steps = std::move(header.steps);
  }
  ending_.confirm(op);
}

std::error_code OpReplies::account(Op& op, const OsdReplyHeader& header) {
  UnflushedWrites& unflushed = op.session->unflushed();
  const ImageId image = op.object_op.image;
  if (header.error == OsdErrc::kOk && is_unflushed_write(op, maps_.map())) {
    unflushed.on_write(image, header.verifier);
  }
  if (op.kind == OpKind::kServerFlush) {
    LossReports& losses = op.session->losses();
    if (header.error == OsdErrc::kLostWrites) {
      unflushed.on_loss_reported(image, header.verifier, op.flush_mark);
      const uint64_t loss = header.steps.empty() ? 0 : header.steps.front().value;
      if (losses.on_loss(image, loss)) sessions_.on_new_loss(image);
      counters_.lost_writes.add();
    } else if (header.error == OsdErrc::kOk) {
      if (unflushed.on_flush(image, header.verifier, op.flush_mark)) {
        losses.on_loss(image, 0);
        sessions_.on_new_loss(image);
        counters_.lost_writes.add();
        LUNAR_ERROR(kObjecter, "osd.{} lost writes of image {:x} that it had acknowledged", op.osd,
                    image);
      }
      if (losses.is_unheard(image)) return OsdErrc::kLostWrites;
    }
  }
  if (header.error == OsdErrc::kOk) return {};
  if (may_be_half_done(op, header)) {
    LUNAR_ERROR(kObjecter, "osd.{} failed in the middle of tid {}, which must not be repeated: {}",
                op.osd, op.tid, make_error_code(header.error).message());
    return OsdErrc::kUnknownOutcome;
  }
  return header.error;
}

void OpReplies::on_cancelled(const ServerRef& server, const msgr::InMessage& message) {
  const auto note = decode_cancel_note(message.front);
  if (note && server->hello())
    unconfirmed_.on_word(server->hello()->osd, note->tid,
                         note->attempt == 0 ? UnconfirmedChanges::kAllSendings : note->attempt);
  Op* op = note ? table_.find(note->tid) : nullptr;
  if (op == nullptr || op->session == nullptr || op->session->server() != server) return;
  const bool is_moving = op->state == OpState::kMoving;
  if (!is_moving && op->state != OpState::kEnding) return;  // it ended meanwhile
  if (!op->session->is_cancelled_by(*op, *note)) return ignore(message, "of an earlier sending");
  delivery_.on_server_through(*op, server, message.link_generation);
  if (is_moving)
    submission_.on_given_up(*op);
  else
    ending_.confirm_not_executed(*op);
}

}  // namespace lunar::objecter
