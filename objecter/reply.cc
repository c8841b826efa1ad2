// SPDX-License-Identifier: LGPL-2.1-or-later
// Replies. A server is believed only about ops it was sent, about the sending it answers, and as
// far as lengths add up; everything else is counted and dropped, and the op goes on waiting.
#include <algorithm>

#include "common/log.h"
#include "objecter/objecter_impl.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

// Whether a restart of the server could lose what was acknowledged.
bool is_unflushed_write(const Op& op) noexcept {
  if (!op.changes || op.request.image == 0 || (op.request.flags & kOpMetadata) != 0) return false;
  return std::any_of(op.request.steps.begin(), op.request.steps.end(), [](const SubOp& step) {
    return changes_object(step.code) && (step.flags & kFua) == 0;
  });
}

}  // namespace

void ObjecterImpl::ignore_reply(const msgr::InMessage& message, const char* why) {
  counters_.reply_ignored.add();
  LUNAR_LOG(kObjecter, 5, "reply to tid {} ignored: {}", message.meta.tid, why);
}

bool ObjecterImpl::fits(const Op& op, const OsdReplyHeader& header,
                        const msgr::InMessage& message) const {
  const auto& asked = op.request.steps;
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
                           op.request.read_into.empty())) {
    return false;
  }
  const bool is_placed =
      !message.data.empty() && message.data.data() == op.request.read_into.data();
  return !is_placed || is_ok;
}

void ObjecterImpl::on_op_reply(const ServerRef& server, msgr::InMessage message) {
  auto header = decode_osd_reply(message.front, message.data.size());
  if (!header) return ignore_reply(message, "it breaks the protocol");
  maps_.want(header->epoch, *server);
  Op* op = header->tid == message.meta.tid ? table_.find(header->tid) : nullptr;
  const bool is_due = op != nullptr && op->session != nullptr && op->session->server() == server &&
                      (op->state == OpState::kSent || op->state == OpState::kEnding) &&
                      op->attempt == header->attempt && op->encoded == op->attempt;
  if (!is_due) return ignore_reply(message, "it answers nothing that was asked");
  if (!fits(*op, *header, message)) return ignore_reply(message, "its lengths are wrong");
  counters_.op_reply.add();
  counters_.op_reply_bytes.add(message.data.size());
  LUNAR_TRACE(lunar_objecter, op_reply, op->request.io_id, op->tid, op->attempt, op->osd,
              static_cast<int32_t>(header->error), header->bytes_inline, header->bytes_one_sided);
  release_key(*op, server, message.link_generation);
  if (op->state == OpState::kEnding) {
    take_late_reply(*op, std::move(*header));
  } else if (header->error == OsdErrc::kStaleMap || header->error == OsdErrc::kRetryInline) {
    retry(*op, *header);
  } else if (is_damaged(*op, *header)) {
    retry_inline(*op, DeliveryReason::kDamaged);
  } else {
    take_reply(*op, std::move(*header), std::move(message));
  }
}

// The server did not execute it, and says what must change first.
void ObjecterImpl::retry(Op& op, const OsdReplyHeader& header) {
  op.was_sent = false;
  if (header.error == OsdErrc::kRetryInline) return retry_inline(op, DeliveryReason::kRetryInline);
  withdraw(op);  // it may not have acknowledged what it answers
  op.resend_reason = ResendReason::kNewMap;
  static_cast<QueueHook&>(op).unlink();
  op.session = nullptr;
  if (header.epoch > targeting_.epoch()) {
    wait_for_newer_map(op, header.epoch);
  } else if (targeting_.epoch() > op.epoch) {
    target(op);
  } else {
    // It does not agree with the very map it has. Not at once again.
    wait_for_newer_map(op, 0);
    schedule_retry();
  }
}

void ObjecterImpl::retry_inline(Op& op, DeliveryReason because) {
  op.inline_because = because;
  op.state = OpState::kWaitSession;
  op.resend_reason = ResendReason::kRetryInline;
  try_send(op);
}

void ObjecterImpl::take_reply(Op& op, OsdReplyHeader header, msgr::InMessage message) {
  op.state = OpState::kAnswered;
  op.result.error = account_reply(op, header);
  op.result.version = header.version;
  op.result.bytes_inline = header.bytes_inline;
  op.result.bytes_one_sided = header.bytes_one_sided;
  counters_.one_sided_bytes.add(header.bytes_one_sided);
  op.result.steps = std::move(header.steps);
  const Bytes into = op.request.read_into;
  if (message.data.empty() || message.data.data() == into.data()) {
    // Nothing to keep.
  } else if (!into.empty() && header.error == OsdErrc::kOk) {
    std::memcpy(into.data(), message.data.data(), into.size());
    counters_.payload_copied.add(into.size());
  } else {
    op.reply_message.emplace(std::move(message));
    op.result.data = op.reply_message->data;
  }
  finish_if_free(op);
}

// It timed out or was cancelled, but its server has an answer. That of a change is worth more than
// "may have been applied"; that of a read has lost its data.
void ObjecterImpl::take_late_reply(Op& op, OsdReplyHeader header) {
  op.awaits_confirmation = false;
  const bool was_executed =
      header.error != OsdErrc::kStaleMap && header.error != OsdErrc::kRetryInline;
  if (was_executed && (op.changes || op.kind == OpKind::kOsd)) {
    op.result.error = account_reply(op, header);
    op.result.version = header.version;
    op.result.steps = std::move(header.steps);
  }
  finish_if_free(op);
}

std::error_code ObjecterImpl::account_reply(Op& op, const OsdReplyHeader& header) {
  UnflushedWrites& unflushed = op.session->unflushed();
  const ImageId image = op.request.image;
  if (header.error == OsdErrc::kOk && is_unflushed_write(op)) {
    unflushed.on_write(image, header.verifier);
  }
  if (op.kind == OpKind::kOsd) {
    if (header.error == OsdErrc::kLostWrites) {
      unflushed.on_loss_reported(image, header.verifier, op.flush_mark);
      counters_.lost_writes.add();
    } else if (header.error == OsdErrc::kOk &&
               unflushed.on_flush(image, header.verifier, op.flush_mark)) {
      counters_.lost_writes.add();
      LUNAR_ERROR(kObjecter, "osd.{} lost writes of image {:x} that it had acknowledged", op.osd,
                  image);
      return OsdErrc::kLostWrites;
    }
  }
  if (header.error == OsdErrc::kOk) return {};
  return header.error;
}

void ObjecterImpl::on_cancelled(const ServerRef& server, const msgr::InMessage& message) {
  const auto note = decode_cancel_note(message.front);
  Op* op = note ? table_.find(note->tid) : nullptr;
  if (op == nullptr || op->state != OpState::kEnding || op->session == nullptr ||
      op->session->server() != server) {
    return;  // it ended meanwhile
  }
  op->awaits_confirmation = false;
  release_key(*op, server, message.link_generation);
  finish_if_free(*op);
}

}  // namespace lunar::objecter
