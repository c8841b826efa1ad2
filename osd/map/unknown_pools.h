// SPDX-License-Identifier: LGPL-2.1-or-later
// Pools that were made after the backup from which a map was restored: their objects are kept
// (OsdMap::unknown_pools). Pure functions; any thread.
#pragma once

#include "objecter/protocol/osd_map.h"

namespace lunar::osd {

// Somebody knows of pools with ids below `next_pool_id`: those that the map has no ids for are
// unknown to it, and get no other pool.
void know_of_pool_ids(objecter::OsdMap& map, objecter::PoolId next_pool_id);

// The ids of pools that the map knows to be removed: given out, and neither there nor unknown.
bool is_removed(const objecter::OsdMap& map, objecter::PoolId id);

// `restored` comes from a backup and has its next_pool_id: whatever it does not list is unknown to
// it, but what `history`, a map of the same cluster, knows to be removed; null if there is none.
// The backup may be of any age, so that it does not count what it thinks removed.
void mark_unknown_pools(objecter::OsdMap& restored, const objecter::OsdMap* history);
// Whether objects of the one are those of the other. Who is in and who is out of a pool in RADOS
// changes, and no object moves by it.
bool is_same_pool(const objecter::PoolInfo& pool, objecter::PoolInfo other);

// Whether a server that may know of other pools has not come since the map was restored, or since
// its store was replaced.
bool awaits_servers(const objecter::OsdMap& map);

// Logs what a former map knows of each pool that is unknown to the next one, as backups have it.
void log_unknown_pools(const objecter::OsdMap& former, const objecter::OsdMap& next);

}  // namespace lunar::osd
