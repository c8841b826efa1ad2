// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/host.h"

namespace lunar {
namespace {

SimulatedHost* host = nullptr;

}  // namespace

SimulatedHost* simulated_host() noexcept { return host; }
void set_simulated_host(SimulatedHost* simulated) noexcept { host = simulated; }

std::chrono::steady_clock::time_point monotonic_now() noexcept {
  return host == nullptr ? std::chrono::steady_clock::now() : host->monotonic_now();
}

std::chrono::system_clock::time_point wall_now() noexcept {
  return host == nullptr ? std::chrono::system_clock::now() : host->wall_now();
}

}  // namespace lunar
