// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <condition_variable>
#include <mutex>

#include "common/thread_annotations.h"

namespace lunar {

// std::mutex with the annotations that libstdc++ leaves out. Thread-safe, not recursive. No
// callback of another class is called while one is held, unless the header that owns the callback
// says so. The path of an IO takes none: what several threads share there is handed over by
// EventCenter::post().
class CAPABILITY("mutex") Mutex {
 public:
  Mutex() = default;  // free
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  // Blocks until the mutex is free. REQUIRES: this thread does not hold it. MutexLock is the usual
  // way.
  void lock() ACQUIRE() { mutex_.lock(); }
  // REQUIRES: this thread holds it.
  void unlock() RELEASE() { mutex_.unlock(); }
  // Takes it and returns true, or returns false at once.
  bool try_lock() TRY_ACQUIRE(true) { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;  // used through the annotated calls alone
};

// Holds a Mutex for a scope: from its construction to its destruction. Borrows the mutex.
class SCOPED_CAPABILITY MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~MutexLock() RELEASE() { mutex_.unlock(); }  // the same thread
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;  // held
};

// Waits for a change of what a Mutex guards. Thread-safe. A wait can end without a notification, so
// it stands in a loop that looks again:
//   MutexLock lock(mutex_);
//   while (queue_.empty()) changed_.wait(mutex_);
class ConditionVariable {
 public:
  // Gives the mutex up while it waits, and holds it again on return.
  void wait(Mutex& mutex) REQUIRES(mutex) { condition_.wait(mutex); }
  // Wakes one waiter, or all. The mutex does not have to be held.
  void notify_one() noexcept { condition_.notify_one(); }
  void notify_all() noexcept { condition_.notify_all(); }

 private:
  std::condition_variable_any condition_;  // _any: waits with a Mutex
};

}  // namespace lunar
