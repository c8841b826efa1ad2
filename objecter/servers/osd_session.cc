// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/osd_session.h"

namespace lunar::objecter {

bool OsdSession::is_meant() const noexcept {
  return server_ != nullptr && server_->hello() && objecter::is_meant(info_, *server_->hello());
}

void OsdSession::send_cancel(const Op& op) {
  const bool may_return =
      op.state == OpState::kMoving && server_->connection().peer().follows_moves;
  server_->send(MessageType::kCancel, CancelNote{op.tid, may_return ? op.attempt : 0},
                msgr::Priority::kHigh);
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
