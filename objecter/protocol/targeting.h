// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string_view>
#include <vector>

#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// Where ops go under one map: placement.h, with a memory. The draws for a PG cost as much as its
// pool has members, so each PG's OSD is remembered when it was asked for; both clients, which send
// an op there, and servers, which look whether an op is meant for them, ask for every op. Takes 4
// bytes for each PG of the pools that were asked for. Loop-bound. Shares the map.
class Targeting {
 public:
  // A PG and the OSD that holds its objects, whether that OSD is up or not. A value.
  struct OpTarget {
    PgId pg;
    OsdId osd = -1;  // -1: there is no such PG, or no OSD may hold it
  };

  // Forgets what was remembered of the map before. Null: there is no map, and no pool.
  void set_map(OsdMapRef map);
  // Null before the first set_map().
  const OsdMapRef& map() const noexcept { return map_; }
  // 0 without a map.
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }
  // Null if the map has none of that id, or there is no map. Lives as long as the map.
  const PoolInfo* find_pool(PoolId id) const noexcept {
    return map_ == nullptr ? nullptr : map_->find_pool(id);
  }

  // Of an object by its name: hashes the name each time. The object need not exist.
  // REQUIRES: `pool` is of this map.
  OpTarget of_object(const PoolInfo& pool, std::string_view name);
  // Of a PG, which the pool need not have: a peer may name any.
  // REQUIRES: as of_object().
  OpTarget of_pg(const PoolInfo& pool, PgId pg);

 private:
  static constexpr OsdId kUnknown = -2;
  struct PoolCache {
    PoolId pool = 0;
    std::vector<OsdId> owners;  // by seed; kUnknown until it is asked for
  };
  PoolCache& cache_of(const PoolInfo& pool);

  OsdMapRef map_;                  // null before the first
  std::vector<PoolCache> caches_;  // of pools of map_; one for each pool that was asked for
};

}  // namespace lunar::objecter
