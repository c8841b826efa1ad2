// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "objecter/protocol/osd_map.h"

namespace lunar::tools {

// What a command that takes longer than a person expects is waiting for: which server, and for how
// long. Says it within a second, and again now and then. Not thread-safe.
class WaitingNotes {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // `op_timeout`: when an op gives up, for the sentence.
  WaitingNotes(TimePoint now, std::chrono::nanoseconds op_timeout)
      : began_(now), op_timeout_(op_timeout) {}

  // The sentences to say now. `ops` and `sessions` are those of the Objecter, as JSON; `map` is
  // null before there is one.
  std::vector<std::string> look(const std::string& ops, const std::string& sessions,
                                const objecter::OsdMap* map, TimePoint now);

 private:
  struct ServerWait {
    std::chrono::nanoseconds age{0};  // of the oldest op or command
    bool is_connected = false;        // it may only be slow
  };
  std::map<objecter::OsdId, ServerWait> waits_in(const std::string& ops,
                                                 const std::string& sessions,
                                                 const objecter::OsdMap& map, TimePoint now);
  bool is_due(objecter::OsdId osd, TimePoint now);

  const TimePoint began_;
  const std::chrono::nanoseconds op_timeout_;
  std::map<uint64_t, TimePoint> commands_;     // by tid: when each was seen first
  std::map<objecter::OsdId, TimePoint> said_;  // when it was said last; -1: of the map
};

}  // namespace lunar::tools
