// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "common/random.h"
#include "common/result.h"
#include "tests/sim/sim_host.h"

namespace lunar::sim {

// One thing that goes wrong, or that an operator does.
struct Fault {
  enum class Kind : uint8_t {
    kKillServer,
    kCutPower,
    kPauseServer,
    kKillGateway,
    kPauseGateway,
    kCutServerLinks,  // every link of the server, for a while
    kCutGatewayLinks,
    kSilenceServer,  // nothing arrives, and nobody is told
    kSilenceGateway,
    kFlakyServer,  // one send in a few breaks its link
    kFailSync,     // the next syncs of the server's disk
    kFailOpen,     // its next opens
    kFailUnlink,
    kFailRename,
    kFailWrite,   // its next writes, with nothing done
    kShortWrite,  // its next writes do a part
    kFullDisk,
    kSlowDisk,
    kTurnBackClock,  // of the gateway, which starts again
    kNewStore,       // one just made in the place of the server's store, for a while
    kOldCopy,        // a copy of the store in its place, when the real one was started once more
    kReopen,         // a gateway opens the image once more, and closes what it had open
    kLoseAuthority,  // its store, for good: a new one is made, and the last backup restored
    kResize,         // by an operator, who is killed after a time, as in the rest
    kRename,
    kMakeImage,
    kRemoveImage,
    kUnregister,  // the gateway, which is fenced
    kRepair,
    kBackUpMap,
    kRestoreMap,  // the last backup
  };
  static constexpr int kKinds = 31;

  Duration at{};
  Kind kind = Kind::kKillServer;
  unsigned target = 0;  // which server or gateway
  Duration length{};    // of the state that ends by itself; or until it starts again, or is killed
  unsigned count = 0;   // of calls that fail; of an operator's commands: which size, which name
  bool is_of_operator() const noexcept { return kind >= Kind::kResize; }

  std::string to_string() const;
  static std::optional<Fault> parse(const std::string& line);
};

using Script = std::vector<Fault>;

// Faults for `length` of simulated time, by chance; a run of this many servers and gateways.
// From a file with one fault a line; empty lines and those that begin with # are left out.
Outcome<Script> read_script(const std::string& path);
Script make_script(RandomEngine& random, Duration length, unsigned servers, unsigned gateways);

}  // namespace lunar::sim
