// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "tests/sim/sim_client.h"

namespace lunar::sim {

// There is one pool. Gateways open one image, which operators rename from one of two names to the
// other. Operators also make and remove a second image, which no gateway opens.
constexpr const char* kPool = "lunar";
constexpr const char* kNames[] = {"disk", "other"};
constexpr const char* kSpare = "spare";

// A command of an operator, as a function that takes a client which has the OSD map. It keeps
// copies of the arguments.
using OperatorWork = std::function<Task<Outcome<void>>(gateway::Client&)>;
// A pool on these servers, "1,2"; on all without any.
OperatorWork making_pool(const std::string& osds);
OperatorWork making(const std::string& name, uint64_t bytes, uint64_t object_bytes);
OperatorWork removing(const std::string& name);
OperatorWork renaming(const std::string& from, const std::string& to);
// These two concern the image that gateways open, whichever name it has.
OperatorWork resizing(uint64_t bytes);
OperatorWork unregistering(const std::string& instance);
// Calls `keep` with what it got, unless the authority has lost its map.
OperatorWork backing_up_map(std::function<void(std::string)> keep);
// `is_lost`: the authority's store is another than that in the backup, which is meant.
OperatorWork restoring_map(const std::string& backup, bool is_lost);
// A scrub, and the repair of each finding that can be mended without being named.
OperatorWork repairing();
// The same, and headers that cannot be read are made anew, as of an image of so many bytes: a disk
// that fails may take them, and then a person names them.
OperatorWork repairing_headers(uint64_t bytes, uint64_t object_bytes);
// Finishes everything that was begun: the image has the first name and `bytes`, and the second one
// is removed. Fails if a scrub finds anything left over after that.
OperatorWork tidying_up(uint64_t bytes);

// Runs such commands, each in a process of its own, which ends afterwards, as `lunar` does, or is
// killed before that.
class SimOperator {
 public:
  using Place = SimClient::Place;
  explicit SimOperator(const Place& place) : place_(place) {}

  // Kills it after `lifetime`. `on_end` gets the error, if there was one; it is not called for one
  // that was killed.
  void begin(OperatorWork work, Duration lifetime, std::function<void(Outcome<void>)> on_end);
  void kill_all();

 private:
  void kill(SimClient& life);
  const Place place_;
  std::vector<SimClient*> lives_;  // that run; left behind when they end
  unsigned begun_ = 0;             // each is an instance of its own, as processes of `lunar` are
};

}  // namespace lunar::sim
