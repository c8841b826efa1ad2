// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/server_connection.h"

#include <string>

#include "objecter/cluster/server_table.h"

namespace lunar::objecter {

ServerConnection::ServerConnection(ServerTable& table, const msgr::Address& address)
    : table_(table),
      address_(address),
      connection_(table.messenger_->connect(address, msgr::Policy::kLosslessClient)) {}

ServerConnection::~ServerConnection() {
  connection_->close();
  connection_->set_context(nullptr);
  const auto at = table_.servers_.find(address_);
  if (at != table_.servers_.end() && at->second.expired()) table_.servers_.erase(at);
}

bool ServerConnection::may_be(OsdId osd) const {
  const msgr::PeerIdentity& peer = connection_->peer();
  return !peer.is_authenticated || peer.entity == "osd." + std::to_string(osd);
}

void ServerConnection::send_front(MessageType type, std::vector<std::byte> front, Tid tid,
                                  msgr::Priority priority) {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  meta.priority = priority;
  meta.tid = tid;
  connection_->send(std::make_unique<msgr::SimpleMessage>(meta, std::move(front)));
}

void ServerConnection::on_open() noexcept {
  is_open_ = true;
  has_link_ = true;
  hello_.reset();
}

void ServerConnection::on_reset(std::error_code why) noexcept {
  is_open_ = false;
  has_link_ = false;
  hello_.reset();
  last_error_ = why;
}

}  // namespace lunar::objecter
