// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/send_front.h"

#include <memory>
#include <utility>

namespace lunar::osd {

void send_front(msgr::Connection& connection, objecter::MessageType type,
                std::vector<std::byte> front, uint64_t tid) {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  meta.tid = tid;
  connection.send(std::make_unique<msgr::SimpleMessage>(meta, std::move(front)));
}

}  // namespace lunar::osd
