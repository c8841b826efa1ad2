// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace lunar::msgr::rdma {

// Whether a device tells when a QP has taken its last buffer from the SRQ
// (ibv_get_async_event(3), IBV_EVENT_QP_LAST_WQE_REACHED). Some never do; it is found out by
// waiting for it a few times.
// Loop-bound.
class LastWqe {
 public:
  // The device has told it, of any QP.
  void on_reached() noexcept { was_reached_ = true; }
  // A QP waited for it in vain.
  void on_missed() noexcept { ++num_missed_; }

  // A QP that ends should wait for it.
  bool is_worth_waiting() const noexcept { return was_reached_ || num_missed_ < kTries; }
  // It comes for certain; else only some of the time there is should be spent on it.
  bool is_known() const noexcept { return was_reached_; }

 private:
  static constexpr int kTries = 3;
  bool was_reached_ = false;
  int num_missed_ = 0;  // without meaning once was_reached_
};

}  // namespace lunar::msgr::rdma
