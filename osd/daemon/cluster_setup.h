// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/result.h"
#include "osd/object_store.h"
#include "osd/server/osd_server.h"

namespace lunar::osd {

// What main() does before there is a server, from the configuration. All of it blocks, and every
// error is a sentence for whoever typed the command.

// The N of osd.N, from -i N.
Outcome<OsdId> osd_id_from(const Config& config);

// lunar-osd --mkfs: makes the store; with `makes_map` also a new cluster whose authority it is.
// Returns what to print.
Outcome<std::string> make_osd(const Config& config, bool makes_map);

// The store that osd_objectstore names: a file store that --mkfs made, one in RADOS whose home is
// such a store, or an empty one in memory, which belongs to the cluster of option fsid, or with
// `makes_map` to one of its own.
Outcome<std::unique_ptr<ObjectStore>> open_store(msgr::EventCenter& center,
                                                 msgr::BufferPool& buffers, const Config& config,
                                                 PerfRegistry& perf, bool makes_map);

// Where to listen: public_addr, each port of ms_bind_port_min … max if it names none.
Outcome<OsdServer::Listen> listen_from(const Config& config);

}  // namespace lunar::osd
