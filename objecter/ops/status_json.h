// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "objecter/ops/op_table.h"
#include "objecter/servers/osd_sessions.h"
#include "objecter/servers/server_commands.h"

namespace lunar::objecter {

// What the admin socket shows, as JSON, in the shape of `ceph daemon … objecter_requests` where it
// has one. Pure.
std::string ops_in_flight_json(const OpTable& table, const ServerCommands& commands_in_flight,
                               OpTime now);
std::string sessions_json(const OsdSessions& sessions_by_osd, Epoch epoch);

}  // namespace lunar::objecter
