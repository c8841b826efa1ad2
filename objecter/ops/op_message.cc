// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_message.h"

#include "objecter/servers/osd_session.h"

namespace lunar::objecter {
namespace {

msgr::MessageMeta meta_of(const Op& op) noexcept {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(MessageType::kOsdOp);
  meta.tid = op.tid;
  meta.trace_id = op.object_op.io_id;
  return meta;
}

}  // namespace

OpMessage::OpMessage(Op& op, PayloadDelivery& delivery, OpEnding& ending) noexcept
    : OutMessage(meta_of(op)), op_(op), delivery_(delivery), ending_(ending), attempt_(op.attempt) {
  ++op_.messages;
}

OpMessage::~OpMessage() {
  --op_.messages;
  ending_.finish_if_free(op_);
}

void OpMessage::encode(msgr::Link& link, uint64_t link_generation, msgr::EncodedMessage& out) {
  const auto delivery = delivery_.decide(op_, link, link_generation);
  op_.encoded = attempt_;
  const Tid oldest = op_.session != nullptr ? op_.session->oldest_tid() : op_.tid;
  // Steps and names stay in the op: this is the path of every IO.
  OsdOpView view;
  view.tid = op_.tid;
  view.oldest_tid = oldest < op_.tid ? oldest : op_.tid;
  view.attempt = attempt_;
  view.epoch = op_.epoch;
  view.pg = op_.pg;
  view.object = op_.object_op.object.name;
  view.image = op_.object_op.image;
  view.flags = op_.object_op.flags;
  view.steps = op_.object_op.steps;
  if (delivery) {
    view.flags |= kOpOneSided;
    view.delivery = &*delivery;
  }
  objecter::encode(view, out.front);
  if (!delivery) out.data = op_.object_op.data;
}

}  // namespace lunar::objecter
