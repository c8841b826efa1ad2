// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "osd/map/command_arguments.h"

namespace lunar::osd {

// The authority's commands about entities and their capabilities, as `ceph auth` has them. The map
// has no keys: what these give is worth nothing without the key of the entity, and the other way
// round. Pure functions, as map_commands.h says.

CommandChange auth_ls(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange auth_get(const objecter::OsdMap& map, const CommandJson& arguments);
// "entity", "caps": replaces all that it had. image= without image_id= is refused: names are looked
// up by who sends the command.
CommandChange auth_caps(const objecter::OsdMap& map, const CommandJson& arguments);
CommandChange auth_rm(const objecter::OsdMap& map, const CommandJson& arguments);
// From then on whoever has no capabilities may do nothing.
CommandChange auth_enforce(const objecter::OsdMap& map, const CommandJson& arguments);

}  // namespace lunar::osd
