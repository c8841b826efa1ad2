// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <optional>

#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/watch.h"

namespace lunar::osd {

// For how long this server has served the PGs of each pool. Who has no watch here is dead only
// after that is longer than the watch timeout: until then it may be coming back from before a
// restart, or from another server.
// Not thread-safe. Shares the newest map.
class PgSettling {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // The watch timeout of this server.
  explicit PgSettling(std::chrono::milliseconds timeout) : timeout_(timeout) {}

  // The cluster serves ops here from now on; the first call counts.
  void on_serving(TimePoint now);
  // A map is ours, not older than the one before. A pool that is placed otherwise than before, or
  // new, is served from now on; the pools of the first map are served since on_serving().
  void on_map(const objecter::OsdMapRef& map, TimePoint now);

  // Of the PGs of this pool. Never too short: rounded up to whole milliseconds.
  objecter::WatchSettling of_pool(objecter::PoolId pool, TimePoint now) const;
  // 0 before on_serving().
  std::chrono::milliseconds served_for(TimePoint now) const;

 private:
  const std::chrono::milliseconds timeout_;
  std::optional<TimePoint> serving_;  // empty before on_serving()
  objecter::OsdMapRef map_;           // null before the first
  // When the placement of a pool changed last. Pools of map_ only; not those of the first map that
  // have not changed since.
  std::map<objecter::PoolId, TimePoint> changed_;
};

}  // namespace lunar::osd
