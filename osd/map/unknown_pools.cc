// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/unknown_pools.h"

#include <fmt/core.h>

#include <string>

#include "common/log.h"

namespace lunar::osd {

using objecter::OsdMap;
using objecter::PoolId;
using objecter::PoolInfo;

void know_of_pool_ids(OsdMap& map, PoolId next_pool_id) {
  if (next_pool_id <= map.next_pool_id) return;
  if (map.unknown_pools.is_empty()) map.unknown_pools.from = map.next_pool_id;
  map.unknown_pools.until = next_pool_id;
  map.next_pool_id = next_pool_id;
}

void mark_unknown_pools(OsdMap& restored, PoolId backup_next) {
  if (restored.unknown_pools.is_empty()) restored.unknown_pools.from = backup_next;
  restored.unknown_pools.until = restored.next_pool_id;
  if (restored.unknown_pools.is_empty()) restored.unknown_pools = {};
}

void log_unknown_pools(const OsdMap& former, const OsdMap& next) {
  for (const PoolInfo& pool : former.pools) {
    if (next.find_pool(pool.id) != nullptr || !next.unknown_pools.has(pool.id)) continue;
    std::string members;
    for (const PoolInfo::Member& member : pool.members)
      members += fmt::format("{}osd.{}:{}", members.empty() ? "" : " ", member.osd, member.weight);
    LUNAR_ERROR(kMap,
                "map epoch {} was restored and does not know pool '{}' of epoch {} (id {}, pg_num "
                "{}, object_size {}, store {}, members with weights {}): its objects are kept",
                next.epoch, pool.name, former.epoch, pool.id, pool.pg_num, pool.object_size,
                to_string(pool.store), members);
  }
}

}  // namespace lunar::osd
