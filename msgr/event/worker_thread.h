// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <thread>

#include "common/result.h"
#include "msgr/event_center.h"

namespace lunar::msgr {

// A thread that runs an EventCenter, with all signals blocked and the center's name.
// Loop-bound to the thread that made it. Owns the center.
class WorkerThread {
 public:
  static Result<std::unique_ptr<WorkerThread>> start(EventCenter::Options options);
  ~WorkerThread();  // stops it
  WorkerThread(const WorkerThread&) = delete;
  WorkerThread& operator=(const WorkerThread&) = delete;

  EventCenter& center() noexcept { return *center_; }

  // Ends the thread once the functions posted so far have run, and makes the calling thread the
  // center's, so that what is bound to it can be torn down here. Does nothing the second time.
  void stop();

 private:
  explicit WorkerThread(std::unique_ptr<EventCenter> center);
  std::unique_ptr<EventCenter> center_;
  std::thread thread_;
};

}  // namespace lunar::msgr
