// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>

#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::osd {

// What a change of the map comes to: an answer, and the next map if there is to be one. The
// authority gives it its epoch. A value.
template <typename Reply>
struct MapChange {
  Reply reply;
  std::optional<objecter::OsdMap> next;
};
using CommandChange = MapChange<objecter::CommandReply>;

// The server is up no more, and no RADOS client of it is known.
inline void mark_down(objecter::OsdInfo& osd) {
  osd.up = false;
  osd.rados_client.clear();
}

}  // namespace lunar::osd
