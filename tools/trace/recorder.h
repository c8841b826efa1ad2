// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/result.h"

namespace lunar::tools {

struct RecordOptions {
  std::string output;  // a new folder; empty: lunar-trace-DATE-TIME in the current one
  std::vector<std::string> events = {"lunar_*"};
  double seconds = 0;  // 0: until SIGINT or SIGTERM, or the end of `command`
  bool is_snapshot = false;
  std::string subbuf_size = "1M";
  uint32_t num_subbuf = 8;
  std::vector<std::string> command;
};

// Records by the program lttng, in a session of its own that is gone afterwards. The exit code of
// `command`, or 0. Uses SIGINT, SIGTERM and SIGCHLD of the calling process. The error is a
// sentence.
Outcome<int> record(const RecordOptions& options);

}  // namespace lunar::tools
