// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string_view>
#include <vector>

#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {

// Where ops go under one map. Remembers each PG's OSD, so that the draws are made once per map.
// Loop-bound. Shares the map.
class Targeting {
 public:
  struct OpTarget {
    PgId pg;
    OsdId osd = -1;  // -1: there is no such PG, or no OSD may hold it
  };

  void set_map(OsdMapRef map);
  const OsdMapRef& map() const noexcept { return map_; }
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }
  const PoolInfo* find_pool(PoolId id) const noexcept {
    return map_ == nullptr ? nullptr : map_->find_pool(id);
  }

  // REQUIRES: `pool` is of this map.
  OpTarget of_object(const PoolInfo& pool, std::string_view name);
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
