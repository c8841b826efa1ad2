// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tests/sim/script.h"
#include "tests/sim/sim_gateway.h"
#include "tests/sim/sim_server.h"

namespace lunar::sim {

struct RunOptions {
  uint64_t seed = 1;
  Duration length = std::chrono::seconds(60);  // of the load under faults
  std::string folder;                          // empty; for the disks
  std::vector<Fault> script;                   // empty: made from the seed
  bool has_script = false;
  bool is_verbose = false;
};

struct RunResult {
  std::vector<std::string> faults;  // what is wrong, in sentences; none: all is well
  Script script;
  uint64_t trace_hash = 0;
  Duration simulated{};
  uint64_t commands = 0;
  uint64_t turns = 0;
  uint64_t undecided = 0;  // blocks with too many commands in flight to be judged
};

// One cluster from its making to its verdict. Once per process: what was killed stays in memory.
RunResult run_once(const RunOptions& options);

}  // namespace lunar::sim
