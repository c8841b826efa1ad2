// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/targeting.h"

#include "objecter/protocol/placement.h"

namespace lunar::objecter {

void Targeting::set_map(OsdMapRef map) {
  map_ = std::move(map);
  caches_.clear();
}

Targeting::PoolCache& Targeting::cache_of(const PoolInfo& pool) {
  for (PoolCache& cache : caches_) {
    if (cache.pool == pool.id) return cache;
  }
  return caches_.emplace_back(PoolCache{pool.id, std::vector<OsdId>(pool.pg_num, kUnknown)});
}

Targeting::OpTarget Targeting::of_object(const PoolInfo& pool, std::string_view name) {
  return of_pg(pool, pg_of_object(pool, name));
}

Targeting::OpTarget Targeting::of_pg(const PoolInfo& pool, PgId pg) {
  if (pg.seed >= pool.pg_num) return {pg, -1};
  OsdId& owner = cache_of(pool).owners[pg.seed];
  if (owner == kUnknown) owner = osd_of_pg(*map_, pool, pg);
  return {pg, owner};
}

}  // namespace lunar::objecter
