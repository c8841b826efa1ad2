// SPDX-License-Identifier: LGPL-2.1-or-later
// Pools that were made after the backup from which a map was restored: their objects are kept
// (OsdMap::unknown_pools). Pure functions; any thread.
#pragma once

#include "objecter/protocol/osd_map.h"

namespace lunar::osd {

// Somebody knows of pools with ids below `next_pool_id`: those that the map has no ids for are
// unknown to it, and get no other pool.
void know_of_pool_ids(objecter::OsdMap& map, objecter::PoolId next_pool_id);

// Whether objects of the one are those of the other. Who is in and who is out of a pool in RADOS
// changes, and no object moves by it.
bool is_same_pool(const objecter::PoolInfo& pool, objecter::PoolInfo other);

// Whether the server, which may know of other pools, has not come since the map was restored, or
// since its store was replaced.
bool is_awaited(const objecter::OsdInfo& osd);
bool awaits_servers(const objecter::OsdMap& map);

// Logs what a former map knows of each pool that is unknown to the next one, as backups have it.
void log_unknown_pools(const objecter::OsdMap& former, const objecter::OsdMap& next);

}  // namespace lunar::osd
