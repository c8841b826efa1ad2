// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How an RdmaLink ends, by close() or by an error:
//   leaving    a last segment tells the peer, unless the QP has failed or the peer left first;
//   stopping   the service thread moves the QP to ERR, which flushes what is posted;
//   draining   a beacon is posted behind everything; with its completion the rest is over. With an
//              SRQ the device also has to be through with the last buffer it took from it
//              (ibv_get_async_event(3), LAST_WQE_REACHED); some devices never say so;
//   drained    the service thread destroys the QP, and windows bound to it;
//   destroyed  nothing of ours is touched any more: every `sent` and `done` ends, then closed() or
//              on_closed().
// Each wait is bounded. Nothing is posted after the beacon, and nothing is delivered from the
// start.

#include <condition_variable>
#include <mutex>
#include <utility>

#include "common/check.h"
#include "msgr/errors.h"
#include "msgr/rdma/link/rdma_link.h"

namespace lunar::msgr::rdma {
namespace {

constexpr std::chrono::milliseconds kLastWqeProbe{20};

// Waits for a job of the service thread.
class Latch {
 public:
  void open() {
    const std::lock_guard lock(mutex_);
    is_open_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return is_open_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = false;
};

}  // namespace

// What is left to tell when a link is over.
struct RdmaLink::Ended {
  std::vector<IoDone> unfinished;
  std::error_code why;
  InlineFunction<void()> closed;
  void run() {
    for (IoDone& done : unfinished) done(why);
    if (closed) closed();
  }
};

RdmaLink::~RdmaLink() {
  *alive_ = false;
  center_.assert_in_loop();
  receiver_.stop();
  center_.cancel(std::exchange(end_timer_, TimerId::kNone));
  if (is_open()) error_ = MsgrErrc::kClosed;
  if (!is_destroyed_) {
    for (const Held& held : held_) {
      if (!held.is_bye) repost(held.buffer);
    }
    const auto windows = take_bound_windows();
    Latch latch;
    const auto error = worker_->parts().service.run([qp = qp_.get(), &windows, &latch] {
      qp->stop();
      qp->destroy(windows);
      latch.open();
    });
    if (!error) latch.wait();
    release();
    let_go_of_qp();
  }
  auto ended = take_unfinished();
  if (!ended->unfinished.empty() || ended->closed) {
    center_.post([ended = std::move(ended)] { ended->run(); });
  }
}

void RdmaLink::close(InlineFunction<void()> closed) {
  center_.assert_in_loop();
  closed_ = std::move(closed);
  if (is_open()) return begin_end(State::kClosed, MsgrErrc::kClosed);
  state_ = State::kClosed;
  error_ = MsgrErrc::kClosed;
  if (!is_destroyed_) return;
  center_.post([ended = take_unfinished()] { ended->run(); });
}

void RdmaLink::fail(std::error_code why) {
  if (is_open()) begin_end(State::kFailed, why);
}

void RdmaLink::begin_end(State state, std::error_code why) {
  state_ = state;
  error_ = why;
  receiver_.stop();
  for (const Held& held : std::exchange(held_, {})) {
    if (!held.is_bye) repost(held.buffer);
  }
  queued_bytes_ = 0;
  if (!peer_has_left_ && !qp_has_failed_ && !worker_->device().is_gone()) {
    worker_->chain().clear();
    if (add_control_segment(SegmentType::kBye) && post()) {
      qp_->life().enter(QpState::kLeaving);
      end_timer_ = center_.run_after(options_.drain_timeout, [this] {
        end_timer_ = TimerId::kNone;
        stop_qp();
      });
      return;
    }
  }
  stop_qp();
}

void RdmaLink::stop_qp() {
  center_.cancel(std::exchange(end_timer_, TimerId::kNone));
  qp_->life().enter(QpState::kStopping);
  post_receive_beacon();
  worker_->parts().service.run([qp = qp_.get(), port = worker_->port(), this, alive = alive_] {
    const auto error = qp->stop();
    port->post([this, alive, error] {
      if (*alive) on_stopped(error);
    });
  });
}

void RdmaLink::on_stopped(std::error_code error) {
  if (error || worker_->device().is_gone()) return on_drained();
  qp_->life().enter(QpState::kDraining);
  post_send_beacon();
  awaits_last_wqe_ = worker_->has_srq() && worker_->awaits_last_wqe();
  end_timer_ = center_.run_after(options_.drain_timeout, [this] {
    end_timer_ = TimerId::kNone;
    on_drained();
  });
  look_whether_drained();
}

// Before the QP is in ERR: rxe flushes receives as it gets there, and does not look again. No peer
// that keeps to its credits can use up this one.
void RdmaLink::post_receive_beacon() {
  if (!qp_->has_own_receives()) return;
  ibv_recv_wr request{};
  request.wr_id = WrId::beacon(slot_).value();
  ibv_recv_wr* bad = nullptr;
  if (ibv_post_recv(qp_->get(), &request, &bad) == 0) ++beacons_;
}

// In ERR: what is posted while a QP may still send could be sent.
void RdmaLink::post_send_beacon() {
  PostChain& chain = worker_->chain();
  chain.clear();
  chain.add(IBV_WR_SEND, WrId::beacon(slot_).value(), {}, IBV_SEND_SIGNALED);
  std::size_t untaken = 0;
  if (chain.post(qp_->get(), &untaken) == 0) ++beacons_;
}

void RdmaLink::on_beacon() {
  const QpState state = state_of_qp();
  if (state != QpState::kStopping && state != QpState::kDraining) return;
  --beacons_;
  look_whether_drained();
}

void RdmaLink::look_whether_drained() {
  if (state_of_qp() != QpState::kDraining || beacons_ > 0) return;
  if (!awaits_last_wqe_) return on_drained();
  if (worker_->knows_last_wqe()) return;  // within the time there is
  center_.cancel(std::exchange(end_timer_, TimerId::kNone));
  end_timer_ = center_.run_after(kLastWqeProbe, [this] {
    end_timer_ = TimerId::kNone;
    worker_->last_wqe_missed();
    on_drained();
  });
}

void RdmaLink::on_async_event(ibv_event_type type) {
  qp_counters_.add(Count::kAsyncEvents);
  switch (type) {
    case IBV_EVENT_QP_LAST_WQE_REACHED:
      awaits_last_wqe_ = false;
      return look_whether_drained();
    case IBV_EVENT_QP_FATAL:
    case IBV_EVENT_QP_REQ_ERR:
    case IBV_EVENT_QP_ACCESS_ERR:
    case IBV_EVENT_PATH_MIG_ERR:
      qp_has_failed_ = true;
      fail(std::make_error_code(type == IBV_EVENT_QP_ACCESS_ERR ? std::errc::permission_denied
                                                                : std::errc::io_error));
      if (state_of_qp() == QpState::kLeaving) stop_qp();
      return;
    default:
      return;
  }
}

void RdmaLink::on_drained() {
  center_.cancel(std::exchange(end_timer_, TimerId::kNone));
  qp_->life().enter(QpState::kDrained);
  auto windows = std::make_shared<std::vector<ibv_mw*>>(take_bound_windows());
  worker_->parts().service.run(
      [qp = qp_.get(), windows, port = worker_->port(), this, alive = alive_] {
        qp->destroy(*windows);
        port->post([this, alive] {
          if (*alive) on_destroyed();
        });
      });
}

void RdmaLink::on_destroyed() {
  const std::shared_ptr<bool> alive = alive_;
  worker_->drain();  // what the QP has still left on the CQ is no other's
  if (!*alive) return;
  qp_->life().enter(QpState::kDestroyed);
  is_destroyed_ = true;
  release();
  let_go_of_qp();
  const auto ended = take_unfinished();
  ended->run();
  if (*alive) report_failure();
}

// Gives back what the worker lent.
void RdmaLink::release() {
  for (const Posted& posted : posted_) {
    if (posted.bounce != kNoBounce) worker_->put_bounce(posted.bounce);
  }
  posted_.clear();
  if (worker_->has_srq()) {
    worker_->pool().give_back(credits_.receive.window() - qp_->local().credits);
  }
  worker_->remove_link(slot_, qp_num_);
}

// Freeing its memory blocks too.
void RdmaLink::let_go_of_qp() {
  ServiceThread& service = worker_->parts().service;
  service.run([qp = std::move(qp_)] {});
}

std::unique_ptr<RdmaLink::Ended> RdmaLink::take_unfinished() {
  auto ended = std::make_unique<Ended>();
  ended->why = error_;
  ended->closed = std::move(closed_);
  const auto take = [&ended](IoDone& done) {
    if (done) ended->unfinished.push_back(std::move(done));
  };
  for (IoDone& done : awaiting_) take(done);
  for (Job& job : queue_) {
    if (auto* frame = std::get_if<FrameJob>(&job)) take(frame->done);
    if (auto* remote = std::get_if<RemoteJob>(&job)) take(remote->done);
  }
  for (RemoteJob& job : reads_) take(job.done);
  for (auto& [rkey, exposed] : exposed_) take(exposed.done);
  awaiting_.clear();
  queue_.clear();
  reads_.clear();
  invalidations_.clear();
  exposed_.clear();
  return ended;
}

void RdmaLink::report_failure() {
  if (state_ != State::kFailed || failure_reported_ || receiver_.handler() == nullptr) return;
  failure_reported_ = true;
  receiver_.handler()->on_closed(error_);  // may destroy this
}

}  // namespace lunar::msgr::rdma
