// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "common/admin_socket.h"
#include "common/perf_counters.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "msgr/awaiters.h"
#include "msgr/messenger.h"
#include "osd/map/map_service.h"
#include "osd/records/store_starts.h"
#include "osd/server/pool_purger.h"
#include "osd/service/command_service.h"
#include "osd/service/op_service.h"
#include "osd/service/server_options.h"

namespace lunar::osd {

// An object server on one store. Makes its parts, starts and ends them in order, and gives each
// event of a connection to the part that it is for: ops to OpService, commands to CommandService,
// maps and boots to MapService. README.md shows the path of an op.
// Loop-bound, but for add_admin_commands(). Owns everything but the store, the center, the stack,
// the keyring and the registry, which outlive it.
class OsdServer final : private msgr::Dispatcher, private MapServiceHost {
 public:
  // Reads the store's records, blocking. Errors are sentences: a damaged record, a map of another
  // cluster, no map and nobody to ask for one.
  static Outcome<std::unique_ptr<OsdServer>> create(msgr::EventCenter& center, ObjectStore& store,
                                                    OsdServerOptions options, PerfRegistry& perf);
  // REQUIRES: shutdown() is done, if it was called; else start() was not called or has failed.
  ~OsdServer() override;

  struct Listen {
    std::vector<msgr::Address> addresses;  // tried in order until one can be bound
    msgr::Address outside;                 // told to others in place of a wildcard
  };
  // Listens and boots. `ready` runs once: with the address that others have to use, when the
  // cluster has us as up; with a sentence if that will never be; with kShutdown if shutdown() came
  // first. `keyring` may be null if no authentication is required.
  void start(msgr::NetworkStack& stack, msgr::MessengerOptions messenger, const Keyring* keyring,
             Listen listen, UniqueFunction<void(Outcome<msgr::Address>)> ready);
  // Called with a sentence if the cluster refuses us later, when start() has succeeded already. The
  // server goes on until shutdown().
  void set_on_refused(UniqueFunction<void(const Error&)> on_refused) {
    on_refused_ = std::move(on_refused);
  }
  // Called when this server was fenced and its PGs were given to others; perhaps more than once. It
  // answers no client from then on. The owner shuts down server and store, and makes both anew; the
  // callback must not destroy the server. `why` is a sentence.
  void set_on_set_aside(UniqueFunction<void(const std::string& why)> on_set_aside) {
    on_set_aside_ = std::move(on_set_aside);
  }

  // The keyring that start() was given has other keys: Messenger::on_keys_changed(). From this call
  // on nothing is begun of what was sent by an entity that the keyring has no more, whether it has
  // a session at this moment or not; a line in the log says for each when nothing of it is carried
  // out any more.
  void on_keys_changed();

  // Tells the cluster that we go, waits for what executes, flushes, clears the marks, ends the
  // connections. `done` runs once, later. The store stays open. REQUIRES: called once.
  void shutdown(UniqueFunction<void()> done);

  // For options that change at run time.
  void set_tracking(OpTracker::Options options) { ops_->set_tracking(options); }

  // Serves commands on it; the handlers run on our loop. Both outlive the socket's use.
  void add_admin_commands(AdminSocket& socket) { commands_->add_admin_commands(socket); }

  const objecter::OsdMapRef& map() const noexcept { return maps_->map(); }  // null before the first
  uint64_t incarnation() const noexcept { return starts_->incarnation(); }  // new with each object

 private:
  struct StartArguments;

  OsdServer(msgr::EventCenter& center, ObjectStore& store, OsdServerOptions options,
            PerfRegistry& perf);
  Outcome<void> load();
  Detached run_start(std::unique_ptr<StartArguments> arguments,
                     UniqueFunction<void(Outcome<msgr::Address>)> ready);
  Task<Outcome<msgr::Address>> bring_up(std::unique_ptr<StartArguments> arguments);
  Outcome<msgr::Address> listen(StartArguments& arguments);
  void prefer_last_port(std::vector<msgr::Address>& candidates) const;
  Detached run_shutdown(UniqueFunction<void()> done);
  void tell_cluster(UniqueFunction<void()> done);
  void tick();

  // Dispatcher
  void on_open(msgr::Connection& connection) override;
  void on_message(msgr::Connection& connection, msgr::InMessage message) override;
  void on_reset(msgr::Connection& connection, std::error_code why) override;
  void on_link(msgr::Connection& connection, bool up) override;
  // MapServiceHost
  void on_map(const objecter::OsdMapRef& map) override;
  void on_ready() override;
  void on_refused(const Error& error) override;
  void on_set_aside(const std::string& why) override;
  // Null if the connection is not the one to the authority.
  AuthorityLink* authority_of(const msgr::Connection& connection) noexcept;

  msgr::EventCenter& center_;
  ObjectStore& store_;
  const OsdServerOptions options_;
  PerfRegistry& perf_;
  // Made by load().
  std::unique_ptr<StoreStarts> starts_;
  std::unique_ptr<ObjectVersions> versions_;
  std::unique_ptr<FenceTable> fences_;
  std::unique_ptr<AccessControl> access_;
  std::unique_ptr<MapService> maps_;
  // Made by start(); a later one is there only if those before it are. The ledger is null when its
  // records cannot be read, the messenger when it cannot be made.
  std::unique_ptr<UnflushedLedger> ledger_;
  std::unique_ptr<OpService> ops_;  // made by load()
  std::unique_ptr<CommandService> commands_;
  std::unique_ptr<PoolPurger> purger_;
  std::unique_ptr<msgr::Messenger> messenger_;
  const Keyring* keyring_ = nullptr;  // the messenger's
  std::set<EntityName> entities_;     // those that the keyring had when it was looked at last

  msgr::TimerId tick_ = msgr::TimerId::kNone;  // runs from the first bind to shutdown()
  bool is_starting_ = false;
  bool is_stopping_ = false;
  msgr::Inbox<Outcome<void>> accepted_;    // the cluster's answer; closed by shutdown()
  UniqueFunction<void()> on_start_ended_;  // set only while shutdown() waits for start() to end
  UniqueFunction<void(const Error&)> on_refused_;
  UniqueFunction<void(const std::string&)> on_set_aside_;
};

}  // namespace lunar::osd
