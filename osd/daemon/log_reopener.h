// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <thread>
#include <vector>

#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"

namespace lunar::osd {

// Opens the log file again for a loop that must not wait for it: log_reopen() by a thread of its
// own, which ends within the 2 s that log_reopen() has.
// Loop-bound. Borrows the center, which outlives it.
class LogReopener {
 public:
  using Done = UniqueFunction<void(Outcome<void>)>;

  explicit LogReopener(msgr::EventCenter& center) : center_(center) {}
  // Waits for the thread. No `done` runs from then on.
  ~LogReopener();
  LogReopener(const LogReopener&) = delete;
  LogReopener& operator=(const LogReopener&) = delete;

  // `done` gets what log_reopen() said that began after this call.
  void reopen(Done done);

 private:
  void start();
  void finish(const Outcome<void>& opened);

  msgr::EventCenter& center_;
  // What was posted and comes when this is gone finds it expired.
  const std::shared_ptr<LogReopener*> self_ = std::make_shared<LogReopener*>(this);
  std::thread thread_;          // joinable from start() to finish()
  std::vector<Done> promised_;  // answered by what thread_ does
  std::vector<Done> waiting_;   // came after thread_ had begun
};

}  // namespace lunar::osd
