// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/log.h"
#include "common/result.h"

namespace lunar {

// Ties the process's log (log.h) to a Config: where it goes from log_file and log_to_stderr, its
// levels from debug_*; the levels follow changes at run time while this lives. Afterwards the log
// stays as it is. One per process, made by Program or by the plugin. Thread-safe. Borrows the
// Config, which outlives it.
class LogConfig {
 public:
  // Called once, before the first thread, so that no line goes to where it should not.
  // Opens the log. The error is that of a log_file that cannot be opened for appending.
  static Outcome<std::unique_ptr<LogConfig>> open(Config& config);
  // The same in two steps, for whoever must not block on a file: where the log is to go, for
  // log_open(); and the rest, which opens nothing.
  static LogTarget target_of(const Config& config);
  static std::unique_ptr<LogConfig> follow(Config& config);

 private:
  LogConfig() = default;                     // by open() alone
  std::vector<Config::Observer> observers_;  // one per debug_* option
};

}  // namespace lunar
