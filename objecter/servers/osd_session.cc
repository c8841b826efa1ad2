// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/osd_session.h"

namespace lunar::objecter {

bool OsdSession::is_meant() const noexcept {
  return server_ != nullptr && server_->hello() && objecter::is_meant(info_, *server_->hello());
}

void OsdSession::send_cancel(Tid ended) {
  server_->send(MessageType::kCancel, CancelNote{ended, 0}, msgr::Priority::kHigh);
}

void OsdSession::send_cancel(const Op& op) {
  server_->send(MessageType::kCancel, CancelNote{op.tid, sendings_to_cancel(op)},
                msgr::Priority::kHigh);
}

// Of an op that may come back, those so far; else all, which is 0.
uint32_t OsdSession::sendings_to_cancel(const Op& op) const {
  const bool may_return =
      op.state == OpState::kMoving && server_->connection().peer().follows_moves;
  return may_return ? op.attempt : 0;
}

// An op that moved and then ended was cancelled twice: either will do.
bool OsdSession::is_cancelled_by(const Op& op, const CancelNote& note) const {
  return note.attempt == sendings_to_cancel(op) || note.attempt >= op.attempt;
}

void OsdSession::add(Op& op) noexcept {
  // Nearly always the last one.
  auto at = ops_.end();
  while (at != ops_.begin()) {
    auto before = at;
    --before;
    if (before->tid < op.tid) break;
    at = before;
  }
  ops_.insert(at, op);
  op.session = this;
}

}  // namespace lunar::objecter
