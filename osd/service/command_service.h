// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/admin_socket.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "msgr/connection.h"
#include "objecter/protocol/control.h"
#include "osd/access/access_control.h"
#include "osd/map/command_arguments.h"
#include "osd/map/map_service.h"
#include "osd/pool_stores.h"
#include "osd/records/unflushed_ledger.h"
#include "osd/service/op_service.h"
#include "osd/service/server_options.h"
#include "osd/store_space.h"

namespace lunar::osd {

// Answers commands, whether they come as COMMAND messages or over the admin socket: what a server
// shows of itself, the fences of an operator, and, on the map authority, the map's. README.md,
// "Commands", lists them.
// Loop-bound but for add_admin_commands(). Borrows what it is made with.
class CommandService {
 public:
  // Runs once with the answer.
  using Done = UniqueFunction<void(objecter::CommandReply)>;
  struct CommandDependencies {
    msgr::EventCenter& center;
    const StoreSpace& store;
    PoolStores& pools;
    const OsdServerOptions& options;
    FenceTable& fences;
    AccessControl& access;
    MapService& maps;
    OpService& ops;
  };
  explicit CommandService(const CommandDependencies& borrowed) : with_(borrowed) {}

  // The ledger is loaded, and can be shown.
  void start(const UnflushedLedger& ledger) { ledger_ = &ledger; }

  // Fences and lifts nothing from now on, before the server waits for what was begun.
  void stop() noexcept { is_stopping_ = true; }

  // A COMMAND message: answered on its connection, if that is still open then.
  void on_command(msgr::Connection& connection, const msgr::InMessage& message);
  // Serves commands on it; the handlers run on our loop. Both outlive the socket's use.
  void add_admin_commands(AdminSocket& socket);

 private:
  bool may_command(const msgr::Connection& connection, const std::string& text) const;
  // Sends the reply. If the peer's share or a message has no room for it, sends a short one instead
  // that says so. That one is a success if the whole reply was and the command `has_changes`: they
  // are made, and must not be made again.
  void send(msgr::Connection& to, uint64_t tid, objecter::CommandReply reply,
            bool has_changes) const;
  void run(const std::string& text, Done done);
  void run_on_map(const std::string& text, Done done);
  void run_fencing(bool is_fence, const std::string& text, Done done);
  // They use this until they end. After stop() none begins, and the server waits for what is
  // recorded and for what executes.
  Detached fence(std::string text, Done done);
  Detached unfence(std::string text, Done done);
  Detached fence_entity(std::string entity, Done done);
  Detached unfence_entity(std::string entity, Done done);
  void let_in(const std::string& entity);
  objecter::CommandReply show(std::string_view prefix, const CommandJson& arguments) const;
  uint64_t newest_nonce(const ClientName& client) const;
  objecter::CommandReply fence_reply(std::error_code error, const ClientName& client) const;

  const CommandDependencies with_;
  const UnflushedLedger* ledger_ = nullptr;  // null before start()
  bool is_stopping_ = false;
  std::vector<AdminSocket::ServedCommand> admin_commands_;
};

}  // namespace lunar::osd
