// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "common/inline_function.h"
#include "common/mutex.h"
#include "msgr/event_center.h"

namespace lunar::osd {

// A few threads for system calls that block. With none of them (max_threads 0), as a simulation has
// it, each call is made on the loop, a while later: the time that `call_time` gives.
// Loop-bound to its center. Owns the threads: started one by one when there is more work than idle
// threads, all signals blocked, joined by the destructor.
class BlockingPool {
 public:
  using CallTime = InlineFunction<std::chrono::nanoseconds()>;
  BlockingPool(msgr::EventCenter& center, unsigned max_threads, CallTime call_time = nullptr);
  ~BlockingPool();  // REQUIRES: nothing is running
  BlockingPool(const BlockingPool&) = delete;
  BlockingPool& operator=(const BlockingPool&) = delete;

  // Runs work() on a thread, then then(result) on the loop. Both are destroyed on the loop.
  template <typename Work, typename Then>
  void run(Work work, Then then) {
    submit(std::make_unique<BlockingCallOf<Work, Then>>(std::move(work), std::move(then)));
  }

 private:
  struct BlockingCall {
    virtual ~BlockingCall() = default;
    virtual void work() = 0;
    virtual void then() = 0;
  };
  template <typename Work, typename Then>
  struct BlockingCallOf final : BlockingCall {
    BlockingCallOf(Work w, Then t) : work_(std::move(w)), then_(std::move(t)) {}
    void work() override { result_ = work_(); }
    void then() override { then_(std::move(result_)); }
    Work work_;
    Then then_;
    decltype(std::declval<Work&>()()) result_{};
  };

  void submit(std::unique_ptr<BlockingCall> call);
  void start_thread() REQUIRES(mutex_);
  void serve();

  msgr::EventCenter& center_;
  const unsigned max_threads_;
  CallTime call_time_;
  std::vector<std::thread> threads_;  // of the loop
  unsigned running_ = 0;              // of the loop: submitted, and then() not called yet
  Mutex mutex_;
  ConditionVariable work_arrived_;
  std::deque<std::unique_ptr<BlockingCall>> queue_ GUARDED_BY(mutex_);
  unsigned idle_ GUARDED_BY(mutex_) = 0;  // threads that wait for work
  bool is_stopping_ GUARDED_BY(mutex_) = false;
};

}  // namespace lunar::osd
