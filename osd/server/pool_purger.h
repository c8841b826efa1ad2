// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <deque>
#include <set>

#include "common/task.h"
#include "common/unique_function.h"
#include "objecter/protocol/osd_map.h"
#include "osd/object_names.h"

namespace lunar::osd {

// Gives back the space of pools that were removed: every pool id that was given out and is not in
// the map, nor among its unknown ones, also if it went while this server was down. One object at a
// time, beside the ops. Loop-bound. Borrows the names. REQUIRES at destruction: stop() is done, or
// no map came.
class PoolPurger {
 public:
  // Removes one object, in the order of its other ops; its argument runs once, later.
  using RemoveObject = UniqueFunction<void(const ObjectId&, UniqueFunction<void()>)>;
  PoolPurger(ObjectNames& names, RemoveObject remove) : names_(names), remove_(std::move(remove)) {}

  // A map is ours, durably.
  void on_map(objecter::OsdMapRef map);
  // `done` runs when nothing is in progress and nothing will be; at once if so already.
  void stop(UniqueFunction<void()> done);

 private:
  Detached run();
  Task<uint64_t> purge(objecter::PoolId pool);
  bool is_kept(objecter::PoolId pool) const {
    return map_->find_pool(pool) != nullptr || map_->unknown_pools.has(pool);
  }
  // A pool that a restored map brought back is left.
  bool must_go(objecter::PoolId pool) const { return !is_stopping_ && !is_kept(pool); }

  ObjectNames& names_;
  RemoveObject remove_;
  objecter::OsdMapRef map_;  // null before the first
  std::set<objecter::PoolId>
      known_gone_;                      // removed pools that were put into queue_ since the start
  std::deque<objecter::PoolId> queue_;  // not begun yet
  bool is_running_ = false;             // run() has not ended
  bool is_stopping_ = false;
  UniqueFunction<void()> stopped_;  // set only while stop() waits for run() to end
};

}  // namespace lunar::osd
