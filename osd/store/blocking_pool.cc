// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/blocking_pool.h"

#include <pthread.h>
#include <signal.h>

namespace lunar::osd {

BlockingPool::BlockingPool(msgr::EventCenter& center, unsigned max_threads, CallTime call_time)
    : center_(center), max_threads_(max_threads), call_time_(std::move(call_time)) {}

BlockingPool::~BlockingPool() {
  LUNAR_CHECK(running_ == 0, "a store was destroyed with calls in progress");
  {
    MutexLock lock(mutex_);
    is_stopping_ = true;
  }
  work_arrived_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BlockingPool::submit(std::unique_ptr<BlockingCall> call) {
  ++running_;
  if (max_threads_ == 0) {
    center_.run_after(call_time_(), [this, call = std::move(call)] {
      --running_;
      call->work();
      call->then();
    });
    return;
  }
  {
    MutexLock lock(mutex_);
    queue_.push_back(std::move(call));
    if (queue_.size() > idle_ && threads_.size() < max_threads_) start_thread();
  }
  work_arrived_.notify_one();
}

void BlockingPool::start_thread() {
  // The new thread inherits the mask: signals belong to the program's main thread.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  threads_.emplace_back([this] { serve(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void BlockingPool::serve() {
  pthread_setname_np(pthread_self(), "lunar-store");
  for (;;) {
    std::unique_ptr<BlockingCall> call;
    {
      MutexLock lock(mutex_);
      ++idle_;
      while (queue_.empty() && !is_stopping_) work_arrived_.wait(mutex_);
      --idle_;
      if (queue_.empty()) return;
      call = std::move(queue_.front());
      queue_.pop_front();
    }
    call->work();
    center_.post([this, call = std::move(call)] {
      --running_;
      call->then();
    });
  }
}

}  // namespace lunar::osd
