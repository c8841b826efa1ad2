// SPDX-License-Identifier: LGPL-2.1-or-later
// Pools that were made after the backup from which a map was restored: their objects are kept
// (OsdMap::unknown_pools). Pure functions; any thread.
#pragma once

#include "objecter/protocol/osd_map.h"

namespace lunar::osd {

// Somebody knows of pools with ids below `next_pool_id`: those that the map has no ids for are
// unknown to it, and get no other pool.
void know_of_pool_ids(objecter::OsdMap& map, objecter::PoolId next_pool_id);

// `restored` is what a backup says, with the ids of the map that it replaces known, and those that
// may have been given out besides: whatever the backup cannot know of is unknown.
// `backup_next`: the backup's own next_pool_id.
void mark_unknown_pools(objecter::OsdMap& restored, objecter::PoolId backup_next);

// Logs what a server's former map knows of each pool that is unknown to the next one: so much is
// needed to write it into a backup by hand.
void log_unknown_pools(const objecter::OsdMap& former, const objecter::OsdMap& next);

}  // namespace lunar::osd
