// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/op_message.h"

#include "objecter/osd_session.h"

namespace lunar::objecter {
namespace {

msgr::MessageMeta meta_of(const Op& op) noexcept {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(MessageType::kOsdOp);
  meta.tid = op.tid;
  meta.trace_id = op.request.io_id;
  return meta;
}

}  // namespace

OpMessage::OpMessage(Op& op, OpMessageOwner& owner) noexcept
    : OutMessage(meta_of(op)), op_(op), owner_(owner), attempt_(op.attempt) {
  ++op_.messages;
}

OpMessage::~OpMessage() {
  --op_.messages;
  owner_.on_message_destroyed(op_);
}

void OpMessage::encode(msgr::Link& link, uint64_t link_generation, msgr::EncodedMessage& out) {
  const auto delivery = owner_.describe_payload(op_, link, link_generation);
  op_.encoded = attempt_;
  const Tid oldest = op_.session != nullptr ? op_.session->oldest_tid() : op_.tid;
  // Steps and names stay in the op: this is the path of every IO.
  OsdOpView view;
  view.tid = op_.tid;
  view.oldest_tid = oldest < op_.tid ? oldest : op_.tid;
  view.attempt = attempt_;
  view.epoch = op_.epoch;
  view.pg = op_.pg;
  view.object = op_.request.object.name;
  view.image = op_.request.image;
  view.flags = op_.request.flags;
  view.steps = op_.request.steps;
  if (delivery) {
    view.flags |= kOpOneSided;
    view.delivery = &*delivery;
  }
  objecter::encode(view, out.front);
  if (!delivery) out.data = op_.request.data;
}

}  // namespace lunar::objecter
