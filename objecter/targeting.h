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
  struct Target {
    PgId pg;
    OsdId osd = -1;
  };

  void set_map(OsdMapRef map);
  const OsdMapRef& map() const noexcept { return map_; }
  Epoch epoch() const noexcept { return map_ == nullptr ? 0 : map_->epoch; }
  const PoolInfo* find_pool(PoolId id) const noexcept {
    return map_ == nullptr ? nullptr : map_->find_pool(id);
  }

  // REQUIRES: `pool` is of this map.
  Target of_object(const PoolInfo& pool, std::string_view name);
  Target of_pg(const PoolInfo& pool, PgId pg);

 private:
  static constexpr OsdId kUnknown = -2;
  struct PoolCache {
    PoolId pool = 0;
    std::vector<OsdId> owners;  // by seed
  };
  PoolCache& cache_of(const PoolInfo& pool);

  OsdMapRef map_;
  std::vector<PoolCache> caches_;
};

}  // namespace lunar::objecter
