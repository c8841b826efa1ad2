// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string_view>

namespace lunar::msgr::rdma {

// The life of a QP, from ibv_create_qp(3) to after ibv_destroy_qp(3).
enum class QpState : uint8_t {
  kReset,           // made; no receive may be posted
  kInit,            // receives may be posted
  kReadyToReceive,  // knows its peer, and takes what it sends
  kReadyToSend,     // carries a link
  kLeaving,         // the last segment is posted; nothing may follow
  kStopping,        // on its way to ERR, on the service thread
  kDraining,        // in ERR: waiting for the beacon behind all that was posted, for a bounded time
  kDrained,         // nothing of ours is on it, or the wait was given up; being destroyed
  kDestroyed,       // touches no memory any more
};

std::string_view to_string(QpState state) noexcept;

// Whether one may follow the other. Only forward, and each state can be left for the end.
bool may_follow(QpState from, QpState to) noexcept;

// Loop-bound, once the QP carries a link. Checks each step.
class QpLife {
 public:
  QpState state() const noexcept { return state_; }
  void enter(QpState next);  // REQUIRES: may_follow(state(), next)
  bool is_open() const noexcept { return state_ == QpState::kReadyToSend; }
  bool is_over() const noexcept { return state_ == QpState::kDestroyed; }

 private:
  QpState state_ = QpState::kReset;
};

}  // namespace lunar::msgr::rdma
