// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/unique_function.h"
#include "tools/perf_msgr/latencies.h"
#include "tools/perf_msgr/peer.h"

namespace lunar::perf_msgr {

enum class Level : uint8_t { kLink, kMessenger };

// What one run does. Immutable.
struct LoadOptions {
  Level level = Level::kMessenger;
  Job job;
  std::vector<msgr::Address> servers;  // connections are dealt out to them in turn
  uint32_t connections = 1;
  uint32_t threads = 1;
  uint64_t ops = 0;  // in all; 0: `duration` decides
  std::chrono::nanoseconds duration{std::chrono::seconds(5)};
  std::chrono::nanoseconds warmup{std::chrono::milliseconds(500)};  // not counted
  std::chrono::nanoseconds open_timeout{std::chrono::seconds(30)};
  std::chrono::microseconds busy_poll{0};
};

// What came out of it. The counters are of the measured part alone where they can be.
struct Report {
  uint64_t ops = 0;
  double seconds = 0;
  Latencies latencies;
  uint64_t client_cpu_ns = 0;
  uint64_t server_cpu_ns = 0;  // with the warm-up
  uint64_t server_ops = 0;     // with the warm-up
  uint64_t send_calls = 0;     // link level, with the warm-up
  uint64_t receive_calls = 0;
  std::string perf_dump;  // of the process, before the connections closed
};

// Blocks until it is over. An error if a connection failed, with its sentence.
Outcome<Report> run_load(const Environment& environment, const LoadOptions& options);

// Opens `connections` one after another, does nothing, and calls `while_open`; then closes them.
Outcome<void> hold_connections(const Environment& environment, const LoadOptions& options,
                               UniqueFunction<void(msgr::EventCenter&)> while_open);

// Opens, uses once and closes a connection `cycles` times; what each took from connect to the end.
Outcome<Report> run_cycles(const Environment& environment, const LoadOptions& options,
                           uint64_t cycles);

}  // namespace lunar::perf_msgr
