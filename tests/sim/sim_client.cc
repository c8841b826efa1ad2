// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_client.h"

#include "common/check.h"
#include "tests/support/borrowed_stack.h"

namespace lunar::sim {

SimClient::SimClient(const Place& place, const std::string& instance,
                     const msgr::LoopbackOptions& network)
    : process(place.host, instance, network, place.wire),
      servers_(place.servers),
      instance_(instance) {}

void SimClient::start(Settings settings) {
  std::string mon_host;
  for (const msgr::Address& server : servers_) {
    mon_host += (mon_host.empty() ? "" : ",") + server.to_string();
  }
  settings.emplace_back("mon_host", mon_host);
  settings.emplace_back("auth_client_required", "none");
  settings.emplace_back("objecter_op_timeout", "10s");
  for (const auto& [name, value] : settings) {
    const auto set = config.set(name, value);
    LUNAR_CHECK(set, "an option of the simulation");
  }
  auto made = gateway::Client::create(config, {instance_, 0},
                                      std::make_unique<msgr::BorrowedStack>(process.stack),
                                      process.center(), perf);
  LUNAR_CHECK(made, "a client can be made");
  client = std::move(*made);
}

}  // namespace lunar::sim
