// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string_view>

#include "osd/map/command_arguments.h"

namespace lunar::osd {

// The authority's commands about pools, as `ceph osd pool` has them. Pure functions, as
// map_commands.h says; README.md "Commands" has their arguments.

CommandChange pool_ls(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange pool_get(const objecter::OsdMap& map, const CommandJson& arguments);
// Where an object is, or would be: placement knows names, not what exists.
CommandChange osd_map(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange pool_create(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange pool_rm(const objecter::OsdMap& map, const CommandJson& arguments);
// Gives up the unknown pools with the ids that were shown: others may have become unknown since.
CommandChange pool_purge_unknown(const objecter::OsdMap& map, const CommandJson& arguments);

// What a "pool create" asks for, if that is a pool in RADOS and can be made: its place has to be
// looked at first (PoolStores::check_new_pool).
std::optional<objecter::PoolInfo> rados_pool_asked_for(const objecter::OsdMap& map,
                                                       std::string_view text);

}  // namespace lunar::osd
