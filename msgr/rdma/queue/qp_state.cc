// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/queue/qp_state.h"

#include "common/check.h"

namespace lunar::msgr::rdma {

std::string_view to_string(QpState state) noexcept {
  switch (state) {
    case QpState::kReset:
      return "reset";
    case QpState::kInit:
      return "init";
    case QpState::kReadyToReceive:
      return "ready to receive";
    case QpState::kReadyToSend:
      return "ready to send";
    case QpState::kLeaving:
      return "leaving";
    case QpState::kStopping:
      return "stopping";
    case QpState::kDraining:
      return "draining";
    case QpState::kDrained:
      return "drained";
    case QpState::kDestroyed:
      return "destroyed";
  }
  return "?";
}

bool may_follow(QpState from, QpState to) noexcept {
  switch (to) {
    case QpState::kReset:
      return false;
    case QpState::kInit:
      return from == QpState::kReset;
    case QpState::kReadyToReceive:
      return from == QpState::kInit;
    case QpState::kReadyToSend:
      return from == QpState::kReadyToReceive;
    case QpState::kLeaving:
      return from == QpState::kReadyToSend;
    case QpState::kStopping:
      return from == QpState::kReadyToSend || from == QpState::kLeaving;
    case QpState::kDraining:
      return from == QpState::kStopping;
    case QpState::kDrained:
      return from == QpState::kDraining || from == QpState::kStopping;
    case QpState::kDestroyed:
      return from != QpState::kDestroyed;
  }
  return false;
}

void QpLife::enter(QpState next) {
  LUNAR_CHECK(may_follow(state_, next), "a QP took a step that is not one");
  state_ = next;
}

}  // namespace lunar::msgr::rdma
