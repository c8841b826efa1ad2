// SPDX-License-Identifier: LGPL-2.1-or-later
//
// How an RdmaLink ends, by close() or by an error: from then on nothing is delivered and nothing
// new is posted, QpEnd ends the QP, and when that is destroyed every `sent` and `done` ends, then
// closed() or on_closed().

#include <condition_variable>
#include <mutex>
#include <utility>

#include "msgr/errors.h"
#include "msgr/rdma/link/rdma_link.h"

namespace lunar::msgr::rdma {
namespace {

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
struct RdmaLink::Unfinished {
  std::vector<IoDone> calls;
  std::error_code why;
  InlineFunction<void()> closed;
  void finish() {
    for (IoDone& done : calls) done(why);
    if (closed) closed();
  }
};

RdmaLink::~RdmaLink() {
  *core_.alive = false;
  core_.center.assert_in_loop();
  if (is_open()) error_ = MsgrErrc::kClosed;
  receiving_.stop();
  sending_.stop();
  if (!end_.is_destroyed()) {
    const auto windows = keys_.take_bound_windows();
    Latch latch;
    const auto error = worker_->stack().service.run([qp = qp_.get(), &windows, &latch] {
      qp->stop();
      qp->destroy(windows);
      latch.open();
    });
    if (!error) latch.wait();
    end_.skip();
    release();
    release_qp();
  }
  auto unfinished = take_unfinished();
  if (!unfinished->calls.empty() || unfinished->closed) {
    core_.center.post([unfinished = std::move(unfinished)] { unfinished->finish(); });
  }
}

void RdmaLink::close(InlineFunction<void()> closed) {
  core_.center.assert_in_loop();
  closed_ = std::move(closed);
  if (is_open()) return begin_end(State::kClosed, MsgrErrc::kClosed);
  state_ = State::kClosed;
  error_ = MsgrErrc::kClosed;
  if (!end_.is_destroyed()) return;
  core_.center.post([unfinished = take_unfinished()] { unfinished->finish(); });
}

void RdmaLink::fail(std::error_code why) {
  if (is_open()) begin_end(State::kFailed, why);
}

void RdmaLink::fail_qp(std::error_code why) {
  end_.note_failure();
  fail(why);
}

void RdmaLink::peer_left() {
  end_.note_peer_left();
  fail(MsgrErrc::kClosedByPeer);
}

void RdmaLink::begin_end(State state, std::error_code why) {
  state_ = state;
  error_ = why;
  receiving_.stop();
  sending_.stop();
  end_.begin();
}

// --- QpEnd::Steps --------------------------------------------------------------------------------

int RdmaLink::post_receive_beacon() {
  if (!qp_->has_own_receives()) return 0;
  ibv_recv_wr request{};
  request.wr_id = WrId::beacon(core_.slot).value();
  ibv_recv_wr* bad = nullptr;
  return ibv_post_recv(qp_->get(), &request, &bad) == 0 ? 1 : 0;
}

int RdmaLink::post_send_beacon() {
  PostChain& chain = worker_->chain();
  chain.clear();
  chain.add(IBV_WR_SEND, WrId::beacon(core_.slot).value(), {}, IBV_SEND_SIGNALED);
  std::size_t untaken = 0;
  return chain.post(qp_->get(), &untaken) == 0 ? 1 : 0;
}

void RdmaLink::stop_qp() {
  worker_->stack().service.run([qp = qp_.get(), port = worker_->port(), this, alive = core_.alive] {
    const auto error = qp->stop();
    port->post([this, alive, error] {
      if (*alive) end_.on_stopped(error);
    });
  });
}

void RdmaLink::destroy_qp() {
  worker_->stack().service.run([qp = qp_.get(), windows = keys_.take_bound_windows(),
                                port = worker_->port(), this, alive = core_.alive] {
    qp->destroy(windows);
    port->post([this, alive] {
      if (*alive) on_destroyed();
    });
  });
}

// --- afterwards ----------------------------------------------------------------------------------

void RdmaLink::on_destroyed() {
  const std::shared_ptr<bool> alive = core_.alive;
  worker_->drain();  // what is left on the CQ is of this QP; later its slot has another link
  if (!*alive) return;
  end_.on_destroyed();
  release();
  release_qp();
  const auto unfinished = take_unfinished();
  unfinished->finish();
  if (*alive) report_failure();
}

// Gives back what the worker lent.
void RdmaLink::release() {
  sending_.release_bounces();
  if (core_.pool != nullptr) {
    core_.pool->give_back(core_.credits.receive.window() - qp_->local().credits);
  }
  worker_->remove_link(core_.slot, core_.qp_num);
}

// Its memory is freed on the service thread, since that blocks.
void RdmaLink::release_qp() {
  ServiceThread& service = worker_->stack().service;
  service.run([qp = std::move(qp_)] {});
}

std::unique_ptr<RdmaLink::Unfinished> RdmaLink::take_unfinished() {
  auto unfinished = std::make_unique<Unfinished>();
  unfinished->why = error_;
  unfinished->closed = std::move(closed_);
  sending_.take_unfinished(unfinished->calls);
  keys_.take_unfinished(unfinished->calls);
  return unfinished;
}

void RdmaLink::report_failure() {
  LinkHandler* const handler = receiving_.handler();
  if (state_ != State::kFailed || is_failure_reported_ || handler == nullptr) return;
  is_failure_reported_ = true;
  handler->on_closed(error_);  // may destroy this
}

}  // namespace lunar::msgr::rdma
