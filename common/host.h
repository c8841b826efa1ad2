// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>

#include "common/bytes.h"

namespace lunar {

// What the program takes from its host beside files and sockets: time and random numbers. The
// cluster simulator (tests/sim) puts its own in their place, so that a run follows from its seed;
// a program never does. Not thread-safe: a simulation has one thread.
class SimulatedHost {
 public:
  virtual ~SimulatedHost() = default;
  // Never goes back; the same for all simulated processes.
  virtual std::chrono::steady_clock::time_point monotonic_now() noexcept = 0;
  // Of the simulated process whose loop is running: theirs may differ, and may jump.
  virtual std::chrono::system_clock::time_point wall_now() noexcept = 0;
  // In place of getrandom(2). Whole; it follows from the seed.
  virtual void fill_random(Bytes into) noexcept = 0;
  // The loop that takes its time from `time_source` has nothing to do before `deadline` (max():
  // never), unless somebody posts to it.
  virtual void on_deadline(const void* time_source,
                           std::chrono::steady_clock::time_point deadline) noexcept = 0;
  // Somebody has posted to that loop while it was not running.
  virtual void on_posted(const void* time_source) noexcept = 0;
};

// Null unless this process simulates. Set before anything else is made; borrowed.
SimulatedHost* simulated_host() noexcept;
void set_simulated_host(SimulatedHost* host) noexcept;

// steady_clock::now() and system_clock::now(), or what the simulator says. Thread-safe.
std::chrono::steady_clock::time_point monotonic_now() noexcept;
std::chrono::system_clock::time_point wall_now() noexcept;

}  // namespace lunar
