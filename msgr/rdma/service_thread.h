// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <memory>

#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event/worker_thread.h"
#include "msgr/event_center.h"

namespace lunar::msgr::rdma {

// Posts to a loop that may end before the poster does: a user of the loop opens a port, hands it
// out, and closes it before the loop and what the posted functions use are destroyed.
// Thread-safe; open() and close() are for the loop's thread. Shared.
class LoopPort : public std::enable_shared_from_this<LoopPort> {
 public:
  static std::shared_ptr<LoopPort> open(EventCenter& center);
  // Posts to the loop. False, and fn is destroyed here, once the port is closed.
  bool post(UniqueFunction<void()> fn);
  // What was posted and has not run is destroyed here.
  void close();

 private:
  void run_next();

  Mutex mutex_;
  EventCenter* center_ GUARDED_BY(mutex_) = nullptr;
  std::deque<UniqueFunction<void()>> posted_ GUARDED_BY(mutex_);
};

// The one helper thread of a stack. It runs what blocks (registering memory; making, moving and
// destroying QPs), and reads what must be read even while loops are busy (async events of devices,
// the rdma_cm channel): those watch their fd on center().
// Thread-safe. Started by the first run(), so that a process may still fork before.
class ServiceThread {
 public:
  ServiceThread() = default;
  ~ServiceThread();  // runs what was queued, then joins

  // Runs job there, in order. An error if the thread cannot be started, or ends: job is destroyed.
  std::error_code run(UniqueFunction<void()> job);
  // REQUIRES: called from a job.
  EventCenter& center() noexcept;

 private:
  Mutex mutex_;
  bool is_over_ GUARDED_BY(mutex_) = false;
  std::unique_ptr<WorkerThread> thread_ GUARDED_BY(mutex_);
};

}  // namespace lunar::msgr::rdma
