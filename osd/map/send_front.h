// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "msgr/connection.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::osd {

// Sends a message without data.
void send_front(msgr::Connection& connection, objecter::MessageType type,
                std::vector<std::byte> front, uint64_t tid = 0);

}  // namespace lunar::osd
