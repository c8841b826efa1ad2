// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <system_error>

#include "msgr/event_center.h"
#include "msgr/rdma/link/last_wqe.h"
#include "msgr/rdma/queue/qp_state.h"

namespace lunar::msgr::rdma {

// How the QP of a link ends:
//   leaving    a last segment tells the peer, unless the QP has failed or the peer left first;
//   stopping   the service thread moves the QP to ERR, which flushes what is posted;
//   draining   a beacon is posted behind everything; with its completion the rest is over. With an
//              SRQ the device also has to be through with the last buffer it took from it
//              (ibv_get_async_event(3), LAST_WQE_REACHED); some devices never say so;
//   drained    the service thread destroys the QP, and windows bound to it;
//   destroyed  nothing of ours is touched any more.
// Each wait is bounded. Nothing is posted after the beacon.
//
// Loop-bound. Part of a link. Borrows the QP's life, until that is over, and what it knows of the
// device.
class QpEnd {
 public:
  // What QpEnd has the link do. No step calls back before it has returned.
  struct Steps {
    virtual bool is_device_gone() const noexcept = 0;
    // False if it cannot be posted.
    virtual bool post_farewell() = 0;
    // Each returns how many completions it will cause: 0 or 1.
    virtual int post_receive_beacon() = 0;
    virtual int post_send_beacon() = 0;
    // On the service thread: to ERR, then on_stopped(); destroyed, then on_destroyed().
    virtual void stop_qp() = 0;
    virtual void destroy_qp() = 0;

   protected:
    ~Steps() = default;
  };
  // `last_wqe` null: there is no SRQ.
  QpEnd(EventCenter& center, Steps& steps, QpLife& life, LastWqe* last_wqe,
        std::chrono::nanoseconds drain_timeout)
      : center_(center),
        steps_(steps),
        life_(life),
        last_wqe_(last_wqe),
        drain_timeout_(drain_timeout) {}
  ~QpEnd() { cancel_timer(); }
  QpEnd(const QpEnd&) = delete;
  QpEnd& operator=(const QpEnd&) = delete;

  // No farewell is sent or waited for after these: it would not arrive, or the peer sent its own.
  void note_failure() noexcept { has_failed_ = true; }
  void note_peer_left() noexcept { has_peer_left_ = true; }

  // REQUIRES: in RTS; called once.
  void begin();
  // Goes on if it waits for a farewell that is over, or will never be because the QP has failed.
  void check_farewell(bool is_over);
  void on_stopped(std::error_code error);
  void on_beacon();
  void on_last_wqe();
  void on_destroyed();
  // There is nothing to end: the QP never carried the link, or another has destroyed it.
  void skip() noexcept;

  QpState state() const noexcept { return is_destroyed_ ? QpState::kDestroyed : life_.state(); }
  bool is_destroyed() const noexcept { return is_destroyed_; }

 private:
  static constexpr std::chrono::milliseconds kLastWqeProbe{20};

  void stop();
  void check_drained();
  void on_drained();
  void start_timer(std::chrono::nanoseconds delay, void (QpEnd::*then)());
  void cancel_timer();

  EventCenter& center_;
  Steps& steps_;
  QpLife& life_;  // not to be used once is_destroyed_
  LastWqe* const last_wqe_;
  const std::chrono::nanoseconds drain_timeout_;
  bool has_failed_ = false;
  bool has_peer_left_ = false;
  bool is_destroyed_ = false;
  int num_beacons_ = 0;             // posted and not complete; only in kStopping and kDraining
  bool awaits_last_wqe_ = false;    // only in kDraining
  TimerId timer_ = TimerId::kNone;  // in kLeaving and kDraining: the time there is for it
};

}  // namespace lunar::msgr::rdma
