// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "common/mutex.h"
#include "gateway/io/io_work.h"
#include "gateway/io_options.h"
#include "gateway/lunar.h"

// One IO of the C API, and its end. Created and released by the caller; freed when it is released
// and not in use any more. Thread-safe but for start(), which is called once.
struct lunar_completion {
  lunar_completion(void* arg, lunar_callback_t callback) : arg_(arg), callback_(callback) {}

  // Posts the IO to the image's thread, where finish() ends it. The work waits in here: what is
  // posted has room for little. 0, or a negative errno for a completion that has served an IO.
  int start(lunar_image& image, const lunar::gateway::IoWork& work,
            const lunar::gateway::IoOptions& options);
  // The IO is over: runs the callback, then wakes who waits.
  void finish(const lunar::gateway::IoResult& io);
  void wait();  // REQUIRES: start() has returned 0
  bool is_complete() const;
  std::error_code error() const noexcept { return error_; }  // set once is_complete()
  int result() const noexcept;                               // likewise, as a negative errno
  uint64_t mismatch() const noexcept { return mismatch_; }   // likewise
  void release();  // once; frees it now, or when its IO is over

 private:
  void* const arg_;
  const lunar_callback_t callback_;
  lunar::gateway::IoWork work_;
  lunar::gateway::IoOptions options_;
  std::error_code error_;
  uint64_t mismatch_ = 0;
  mutable lunar::Mutex mutex_;
  lunar::ConditionVariable changed_;
  bool is_started_ GUARDED_BY(mutex_) = false;
  bool is_complete_ GUARDED_BY(mutex_) = false;  // never before is_started_
  bool is_released_ GUARDED_BY(mutex_) = false;
};
