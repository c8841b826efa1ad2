// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/service_thread.h"

#include <utility>

#include "common/check.h"

namespace lunar::msgr::rdma {

std::shared_ptr<LoopPort> LoopPort::open(EventCenter& center) {
  auto port = std::make_shared<LoopPort>();
  const MutexLock lock(port->mutex_);
  port->center_ = &center;
  return port;
}

bool LoopPort::post(UniqueFunction<void()> fn) {
  {
    // Held over the post: the center must not go away in the middle of it.
    const MutexLock lock(mutex_);
    if (center_ != nullptr) {
      posted_.push_back(std::move(fn));
      center_->post([self = shared_from_this()] { self->run_next(); });
      return true;
    }
  }
  return false;  // fn is destroyed here, without the lock
}

void LoopPort::run_next() {
  UniqueFunction<void()> next;
  {
    const MutexLock lock(mutex_);
    if (posted_.empty()) return;  // closed meanwhile
    next = std::move(posted_.front());
    posted_.pop_front();
  }
  next();
}

void LoopPort::close() {
  std::deque<UniqueFunction<void()>> unrun;  // destroyed without the lock
  const MutexLock lock(mutex_);
  center_ = nullptr;
  unrun.swap(posted_);
}

ServiceThread::~ServiceThread() {
  std::unique_ptr<WorkerThread> thread;
  {
    const MutexLock lock(mutex_);
    is_over_ = true;
    thread = std::move(thread_);
  }
  if (thread == nullptr) return;
  thread->stop();
}

std::error_code ServiceThread::run(UniqueFunction<void()> job) {
  const MutexLock lock(mutex_);
  if (is_over_) return std::make_error_code(std::errc::operation_canceled);
  if (thread_ == nullptr) {
    EventCenter::Options options;
    options.name = "lunar-rdma";
    auto started = WorkerThread::start(std::move(options));
    if (!started) return started.error();
    thread_ = std::move(*started);
  }
  thread_->center().post(std::move(job));
  return {};
}

EventCenter& ServiceThread::center() noexcept {
  const MutexLock lock(mutex_);
  LUNAR_CHECK(thread_ != nullptr && thread_->center().is_in_loop(),
              "the service thread's center is for its jobs");
  return thread_->center();
}

}  // namespace lunar::msgr::rdma
