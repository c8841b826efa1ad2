// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>

#include "common/file.h"
#include "common/result.h"

namespace lunar {

// A listening unix socket at `path`, non-blocking, whose file has `mode`. The file of a dead
// process is replaced. Errors: address_in_use if something answers there or the file is no socket,
// filename_too_long.
Outcome<UniqueFd> listen_unix(const std::string& path, mode_t mode = 0600);

// Connected, then non-blocking; waits at most `timeout` (above zero) for a busy listener. Error:
// connection_refused or no_such_file_or_directory if nobody listens.
Outcome<UniqueFd> connect_unix(const std::string& path,
                               std::chrono::milliseconds timeout = std::chrono::seconds(10));

// Waits until `fd` is ready for `events` (poll's). False at the deadline.
bool wait_ready(int fd, short events, std::chrono::steady_clock::time_point deadline) noexcept;

}  // namespace lunar
