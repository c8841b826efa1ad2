// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/server_table.h"

#include <utility>

namespace lunar::objecter {
namespace {

// What a Connection keeps for us. The connection may outlive the server, hence weak.
struct ServerContext {
  std::weak_ptr<ServerConnection> server;
};

}  // namespace

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
