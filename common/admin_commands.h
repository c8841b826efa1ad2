// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "common/admin_socket.h"
#include "common/config.h"
#include "common/perf_counters.h"

namespace lunar {

// The commands that every program serves, beside the help and version of the socket itself: config
// show|get|set|diff, perf dump|schema|histogram dump|prometheus, log dump|reopen. They answer in
// JSON, or in text for a person, and take their arguments as Ceph's do: as words or as JSON fields.
// Handlers run on the socket's thread; all that they touch is Thread-safe.
// They are served as long as what is returned lives, which may be destroyed before or after the
// socket. `config` and `perf` are borrowed until then. REQUIRES: the socket has none of them yet.
[[nodiscard]] std::vector<AdminSocket::ServedCommand> add_standard_commands(AdminSocket& socket,
                                                                            Config& config,
                                                                            PerfRegistry& perf);

}  // namespace lunar
