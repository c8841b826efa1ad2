// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/server_connection.h"

namespace lunar::objecter {
namespace {

// What a Connection keeps for us. The connection may outlive the server, hence weak.
struct ServerContext {
  std::weak_ptr<ServerConnection> server;
};

}  // namespace

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

ServerRef ServerTable::get(const msgr::Address& address) {
  std::weak_ptr<ServerConnection>& slot = servers_[address];
  ServerRef server = slot.lock();
  if (server == nullptr) {
    server = std::make_shared<ServerConnection>(*this, address);
    slot = server;
    auto context = std::make_shared<ServerContext>();
    context->server = server;
    server->connection().set_context(std::move(context));
  }
  return server;
}

ServerRef ServerTable::of(msgr::Connection& connection) noexcept {
  const auto* context = static_cast<const ServerContext*>(connection.context().get());
  return context == nullptr ? nullptr : context->server.lock();
}

}  // namespace lunar::objecter
