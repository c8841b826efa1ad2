// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/admin_socket.h"
#include "common/perf_counters.h"
#include "msgr/messenger.h"
#include "osd/clients/client_session.h"
#include "osd/map/map_service.h"
#include "osd/ops/op_executor.h"
#include "osd/ops/op_tracker.h"
#include "osd/records/unflushed_ledger.h"
#include "osd/server/pool_purger.h"
#include "osd/service/server_options.h"

namespace lunar::osd {

// An object server on one store: takes ops from connections, checks that they are for it, has
// sessions and executor do them, and answers. README.md shows the path of an op.
// Loop-bound. Owns everything but the store, the center, the stack, the keyring and the registry.
class OsdServer final : private msgr::Dispatcher, private SessionHost, private MapService::Host {
 public:
  // Reads the store's records. Errors explain themselves.
  static Outcome<std::unique_ptr<OsdServer>> create(msgr::EventCenter& center, ObjectStore& store,
                                                    OsdServerOptions options, PerfRegistry& perf);
  ~OsdServer() override;  // REQUIRES: shutdown() is done, or start() failed

  struct Listen {
    std::vector<msgr::Address> addresses;  // tried in order until one can be bound
    // Told to others in place of a wildcard.
    msgr::Address outside;
  };
  // Listens and boots. `ready` runs once with the address, when the cluster has us as up; or with
  // why that will never be.
  void start(msgr::NetworkStack& stack, msgr::MessengerOptions messenger, const Keyring* keyring,
             Listen listen, InlineFunction<void(Outcome<msgr::Address>)> ready);
  // Called if the cluster refuses us after all, later.
  void set_on_refused(InlineFunction<void(const Error&)> on_refused) {
    on_refused_ = std::move(on_refused);
  }

  // Ends sessions, waits for what executes, flushes, clears the marks. The store stays open.
  void shutdown(InlineFunction<void()> done);

  // For options that change at run time.
  void set_tracking(OpTracker::Options options) { tracker_.set_options(options); }

  // Serves commands on it; the handlers run on our loop. Both outlive the socket's use.
  void add_admin_commands(AdminSocket& socket);

  const objecter::OsdMapRef& map() const noexcept { return maps_->map(); }
  uint64_t incarnation() const noexcept { return incarnation_; }
  uint64_t verifier() const noexcept { return ledger_ ? ledger_->verifier() : 0; }

 private:
  struct Peer {
    ClientSessions::SessionId session = 0;
  };
  struct Waiting {  // for a map of this epoch
    Epoch epoch = 0;
    msgr::Connection* connection = nullptr;
    ClientOpRef op;
  };

  OsdServer(msgr::EventCenter& center, ObjectStore& store, OsdServerOptions options,
            PerfRegistry& perf);
  Outcome<void> load();
  void listen(msgr::NetworkStack& stack, msgr::MessengerOptions messenger, const Keyring* keyring,
              const Listen& listen);
  void fail_start(Error error);
  void tick();
  void close_down();

  // Dispatcher
  void on_open(msgr::Connection& connection) override;
  void on_message(msgr::Connection& connection, msgr::InMessage message) override;
  void on_reset(msgr::Connection& connection, std::error_code why) override;
  void on_link(msgr::Connection& connection, bool up) override;
  // MapService::Host
  void on_map(const objecter::OsdMapRef& map) override;
  void on_ready() override;
  void on_refused(const Error& error) override;

  // Ops: osd_server_ops.cc.
  void on_op(msgr::Connection& connection, msgr::InMessage message);
  void on_cancel(msgr::Connection& connection, ConstBytes front);
  void admit(msgr::Connection& connection, ClientOpRef op);
  OsdErrc check_target(const ClientOp& op) const;
  void wait_for_map(msgr::Connection& connection, ClientOpRef op);
  void refuse(msgr::Connection& connection, const ClientOp& op, OsdErrc error);
  void op_ended(ClientOpRef op, OpResultRef result);
  void start_waiting();
  void purge_object(const ObjectId& id, InlineFunction<void()> done);
  void send_hello(msgr::Connection& connection, bool remembers);
  // SessionHost
  void execute(ClientOpRef op) override;
  bool take_back(const ClientOpRef& op) override;
  void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) override;
  void send_cancelled(msgr::Connection& connection, Tid tid) override;

  // Commands: osd_server_commands.cc.
  void on_command(msgr::Connection& connection, const msgr::InMessage& message);
  bool may_command(const msgr::Connection& connection) const;
  void run_command(const std::string& request, InlineFunction<void(objecter::CommandReply)> done);
  void fence_command(const std::string& request, bool fence,
                     InlineFunction<void(objecter::CommandReply)> done);
  objecter::CommandReply show_command(const std::string& prefix);

  msgr::EventCenter& center_;
  ObjectStore& store_;
  const OsdServerOptions options_;
  PerfRegistry& perf_;
  const uint64_t incarnation_;
  OpTracker tracker_;
  OneSidedCounters one_sided_;
  std::unique_ptr<ObjectVersions> versions_;
  std::unique_ptr<FenceTable> fences_;
  std::unique_ptr<UnflushedLedger> ledger_;
  std::unique_ptr<ClientSessions> sessions_;
  std::unique_ptr<OpExecutor> executor_;
  std::unique_ptr<MapService> maps_;
  std::unique_ptr<msgr::Messenger> messenger_;
  msgr::Address address_;
  std::map<msgr::Connection*, Peer> peers_;
  PoolPurger purger_;
  std::map<const ClientOp*, InlineFunction<void()>> purges_;
  std::size_t executing_ = 0;        // with the executor
  std::deque<ClientOpRef> waiting_;  // for their turn, above max_executing_ops
  std::deque<Waiting> waiting_maps_;
  msgr::TimerId tick_ = msgr::TimerId::kNone;
  bool stopping_ = false;
  InlineFunction<void(Outcome<msgr::Address>)> ready_;
  InlineFunction<void(const Error&)> on_refused_;
  InlineFunction<void()> stopped_;
  std::vector<AdminSocket::ServedCommand> admin_commands_;
};

}  // namespace lunar::osd
