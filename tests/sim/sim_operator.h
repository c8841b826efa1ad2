// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "tests/sim/sim_process.h"

namespace lunar::sim {

// The image that gateways have open, under one of two names, and one that nobody opens.
constexpr const char* kPool = "lunar";
constexpr const char* kNames[] = {"disk", "other"};
constexpr const char* kSpare = "spare";

// What an operator types, as work for a client that has a map. The arguments are copied.
using OperatorWork = std::function<Task<Outcome<void>>(gateway::Client&)>;
OperatorWork making_pool();
OperatorWork making(const std::string& name, uint64_t bytes, uint64_t object_bytes);
OperatorWork removing(const std::string& name);
OperatorWork renaming(const std::string& from, const std::string& to);
// By whatever name it has.
OperatorWork resizing(uint64_t bytes);
OperatorWork unregistering(const std::string& instance);
// All that a scrub finds and mends without being told each.
OperatorWork repairing();
// Everything that was begun is finished, under the first name and with `bytes`; the spare image is
// gone, and a scrub finds nothing that is left over. An error says what does not hold.
OperatorWork tidying_up(uint64_t bytes);

// A process that does one such thing and ends, as `lunar` does; or is killed before.
class SimOperator {
 public:
  struct Place {
    SimHost& host;
    const msgr::LoopbackStack& wire;
    std::vector<msgr::Address> servers;
  };
  explicit SimOperator(const Place& place) : place_(place) {}

  // Kills it after `lifetime`. `on_end` gets the error, if there was one; it is not called for one
  // that was killed.
  void begin(OperatorWork work, Duration lifetime, std::function<void(Outcome<void>)> on_end);
  void kill_all();

 private:
  struct Life;
  void kill(Life& life);
  const Place place_;
  std::vector<Life*> lives_;  // that run; left behind when they end
  unsigned begun_ = 0;        // each is an instance of its own, as processes of `lunar` are
};

}  // namespace lunar::sim
