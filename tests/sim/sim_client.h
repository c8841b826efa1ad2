// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/config.h"
#include "common/perf_counters.h"
#include "gateway/client.h"
#include "tests/sim/sim_process.h"

namespace lunar::sim {

// A process with a client of the cluster in it. Left behind when it ends, as a process is.
struct SimClient {
  struct Place {
    SimHost& host;
    const msgr::LoopbackStack& wire;
    std::vector<msgr::Address> servers;
  };
  using Settings = std::vector<std::pair<std::string, std::string>>;

  // Without a client yet, so that its clocks can be set.
  SimClient(const Place& place, const std::string& instance, const msgr::LoopbackOptions& network);
  // Makes the client. `settings` are its configuration, beside what every client needs. Once.
  void start(Settings settings = {});

  SimProcess process;
  Config config;
  PerfRegistry perf;
  std::unique_ptr<gateway::Client> client;  // null before start()

 private:
  const std::vector<msgr::Address> servers_;
  const std::string instance_;
};

}  // namespace lunar::sim
