// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "osd/map/command_arguments.h"

namespace lunar::osd {

// Later maps than that of a backup may be known to servers and clients, which take none that is
// older: a restored one is later than any that is known to the authority by so many changes.
constexpr objecter::Epoch kRestoreGap = 1'000'000;
// And pools may have been made since, of which the authority knows nothing: their ids are not given
// out again.
constexpr objecter::PoolId kRestorePoolGap = 1024;

// The authority's map becomes that of a backup, brought up to date with what the authority knows of
// servers, and of what was removed and taken away since. It gives up no pool that the backup does
// not list (OsdMap::unknown_pools). Refused before anything changes: another cluster's, one whose
// pools would mix with ours, and what would lose objects without being told to. A pure function, as
// map_commands.h says; docs/operations.md "Backup of the map" is its use.
CommandChange map_restore(const objecter::OsdMap& map, const CommandJson& arguments);

}  // namespace lunar::osd
