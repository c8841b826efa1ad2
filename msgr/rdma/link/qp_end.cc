// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/qp_end.h"

#include <utility>

namespace lunar::msgr::rdma {

void QpEnd::start_timer(std::chrono::nanoseconds delay, void (QpEnd::*then)()) {
  timer_ = center_.run_after(delay, [this, then] {
    timer_ = TimerId::kNone;
    (this->*then)();
  });
}

void QpEnd::cancel_timer() { center_.cancel(std::exchange(timer_, TimerId::kNone)); }

void QpEnd::begin() {
  if (!has_peer_left_ && !has_failed_ && !steps_.is_device_gone() && steps_.post_farewell()) {
    life_.enter(QpState::kLeaving);
    return start_timer(drain_timeout_, &QpEnd::stop);
  }
  stop();
}

void QpEnd::check_farewell(bool is_over) {
  if ((is_over || has_failed_) && state() == QpState::kLeaving) stop();
}

void QpEnd::stop() {
  cancel_timer();
  life_.enter(QpState::kStopping);
  // Before the QP is in ERR: rxe flushes receives as it gets there, and does not look again. No
  // peer that keeps to its credits can use up this one.
  num_beacons_ += steps_.post_receive_beacon();
  steps_.stop_qp();
}

void QpEnd::on_stopped(std::error_code error) {
  if (error || steps_.is_device_gone()) return on_drained();
  life_.enter(QpState::kDraining);
  // In ERR: what is posted while a QP may still send could be sent.
  num_beacons_ += steps_.post_send_beacon();
  awaits_last_wqe_ = last_wqe_ != nullptr && last_wqe_->is_worth_waiting();
  start_timer(drain_timeout_, &QpEnd::on_drained);
  check_drained();
}

void QpEnd::on_beacon() {
  if (state() != QpState::kStopping && state() != QpState::kDraining) return;
  --num_beacons_;
  check_drained();
}

void QpEnd::on_last_wqe() {
  awaits_last_wqe_ = false;
  check_drained();
}

void QpEnd::check_drained() {
  if (state() != QpState::kDraining || num_beacons_ > 0) return;
  if (!awaits_last_wqe_) return on_drained();
  if (last_wqe_->is_known()) return;  // within the time there is
  cancel_timer();
  timer_ = center_.run_after(kLastWqeProbe, [this] {
    timer_ = TimerId::kNone;
    last_wqe_->on_missed();
    on_drained();
  });
}

void QpEnd::on_drained() {
  cancel_timer();
  life_.enter(QpState::kDrained);
  steps_.destroy_qp();
}

void QpEnd::on_destroyed() {
  life_.enter(QpState::kDestroyed);
  is_destroyed_ = true;
}

void QpEnd::skip() noexcept {
  cancel_timer();
  is_destroyed_ = true;
}

}  // namespace lunar::msgr::rdma
