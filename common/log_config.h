// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/result.h"

namespace lunar {

// Ties the process's log to a Config: target from log_file and log_to_stderr, levels from debug_*;
// the levels follow runtime changes while this lives. Thread-safe. The Config outlives it.
class LogConfig {
 public:
  static Outcome<std::unique_ptr<LogConfig>> open(Config& config);

 private:
  LogConfig() = default;
  std::vector<Config::Observer> observers_;
};

}  // namespace lunar
