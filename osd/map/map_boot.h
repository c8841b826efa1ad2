// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "osd/map/map_change.h"

namespace lunar::osd {

using BootChange = MapChange<objecter::OsdBootReply>;

// Whether this server may be up in this cluster, and the map in which it is. Pure. A refusal is a
// sentence that says what to do.
BootChange boot_osd(const objecter::OsdMap& map, const objecter::OsdBoot& boot);

}  // namespace lunar::osd
