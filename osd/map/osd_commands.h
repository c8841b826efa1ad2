// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "osd/map/command_arguments.h"

namespace lunar::osd {

// The authority's commands about servers, as `ceph osd` has them. Pure functions, as map_commands.h
// says; README.md "Commands" has their arguments.

CommandChange osd_ls(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange osd_tree(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange osd_down(const objecter::OsdMap& map, const CommandJson& arguments);
// Takes its weight in each pool in RADOS, so that its PGs go to the other members; no object moves.
CommandChange osd_out(const objecter::OsdMap& map, const CommandJson& arguments);
// Gives it one weight in all pools in RADOS in which it has none.
CommandChange osd_in(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange osd_rm(const objecter::OsdMap& map, const CommandJson& arguments);
// Another store by this id, or any start of the present one; in a restored map also a server that
// was added after the backup.
CommandChange osd_replace(const objecter::OsdMap& map, const CommandJson& arguments);

// The names of the pools that have it as a member, for a sentence.
std::string pools_on(const objecter::OsdMap& map, objecter::OsdId osd);

}  // namespace lunar::osd
