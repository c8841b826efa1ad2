// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>

#include "tools/perf_msgr/crossover.h"
#include "tools/perf_msgr/load.h"

namespace lunar::perf_msgr {

// What this process holds, from /proc/self/status; zeroes if that cannot be read.
struct Memory {
  uint64_t resident_bytes = 0;
  uint64_t pinned_bytes = 0;  // registered with RDMA devices
};
Memory memory_of_this_process();

// All as text for people, or as JSON.
std::string describe(const LoadOptions& options, const std::string& transport, Report& report,
                     bool json);
std::string describe_cycles(Report& report, const Memory& before, const Memory& after, bool json);
std::string describe_idle(uint32_t connections, const Memory& before, const Memory& after,
                          bool json);
std::string describe(const Crossover& crossover, const std::string& server, bool json);

}  // namespace lunar::perf_msgr
