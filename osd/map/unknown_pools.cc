// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/unknown_pools.h"

#include <algorithm>

#include "common/log.h"

namespace lunar::osd {

using objecter::OsdMap;
using objecter::PoolId;
using objecter::PoolInfo;

void know_of_pool_ids(OsdMap& map, PoolId next_pool_id) {
  if (next_pool_id <= map.next_pool_id) return;
  map.unknown_pools.append({map.next_pool_id, next_pool_id});
  map.next_pool_id = next_pool_id;
}

bool is_same_pool(const PoolInfo& pool, PoolInfo other) {
  if (pool.store == objecter::StoreKind::kRados && other.members.size() == pool.members.size())
    for (std::size_t i = 0; i < pool.members.size(); ++i)
      other.members[i].weight = pool.members[i].weight;
  return pool == other;
}

bool is_awaited(const objecter::OsdInfo& osd) {
  return !osd.store.is_nil() && osd.incarnation == 0;
}

bool awaits_servers(const OsdMap& map) {
  return std::any_of(map.osds.begin(), map.osds.end(), is_awaited);
}

void log_unknown_pools(const OsdMap& former, const OsdMap& next) {
  for (const PoolInfo& pool : former.pools)
    if (next.unknown_pools.has(pool.id))
      LUNAR_ERROR(kMap,
                  "map epoch {} was restored and does not know this pool of epoch {}, whose "
                  "objects are kept: {}",
                  next.epoch, former.epoch, objecter::to_json(pool));
}

}  // namespace lunar::osd
