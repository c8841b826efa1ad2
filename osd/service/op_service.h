// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/host.h"
#include "msgr/connection.h"
#include "objecter/protocol/targeting.h"
#include "osd/access/access_control.h"
#include "osd/clients/client_sessions.h"
#include "osd/map/map_service.h"
#include "osd/ops/bounded_executor.h"
#include "osd/ops/op_tracker.h"
#include "osd/ops/reply_message.h"
#include "osd/pool_stores.h"
#include "osd/service/map_waiters.h"
#include "osd/service/server_options.h"
#include "osd/service/watch_ops.h"
#include "osd/store_identity.h"

namespace lunar::osd {

// Takes ops from connections, checks that they are for this server under its map, has sessions and
// executor do them, and answers. README.md shows the path of an op.
// Loop-bound. Owns sessions, executor and tracker; borrows everything else that it is made with.
class OpService final : private ClientSessionsHost {
 public:
  struct OpDependencies {
    msgr::EventCenter& center;
    const StoreIdentity& identity;
    OpStore store;
    const PoolStores& pools;
    const OsdServerOptions& options;
    ObjectVersions& versions;
    FenceTable& fences;
    AccessControl& access;
    MapService& maps;
    PerfRegistry& perf;
  };
  explicit OpService(const OpDependencies& borrowed);

  // The ledger is loaded: ops can be executed from now on. Called once, before any connection is
  // there; the ledger outlives drain().
  void start(UnflushedLedger& ledger);

  // A connection of a client, or of another server: begins with our hello.
  void on_open(msgr::Connection& connection);
  void on_op(msgr::Connection& connection, msgr::InMessage message);
  void on_cancel(msgr::Connection& connection, ConstBytes front);
  void on_reset(msgr::Connection& connection);
  void on_link(msgr::Connection& connection, bool is_up) { watches_.on_link(connection, is_up); }
  void on_watch_ping(msgr::Connection& connection, ConstBytes front) {
    if (!is_silent_) watches_.on_ping(connection, front);
  }
  // The entity may not be here any more, and its connections bring nothing: ClientSessions::revoke.
  void revoke(const std::string& entity, UniqueFunction<void()> done);
  // The cluster has us as up.
  void on_serving() { watches_.on_serving(); }
  // A newer map is ours, durably.
  void on_map(Epoch epoch);

  using TimePoint = std::chrono::steady_clock::time_point;
  // Once a second: answers ops that have waited too long for something other than the store, lets
  // go of replies that nobody takes, drops sessions that nobody came back for, and logs slow ops.
  void tick(TimePoint now = monotonic_now());
  // For options that change at run time.
  void set_tracking(OpTracker::Options options) { tracker_.set_options(options); }

  // Deletes an object of a removed pool, in the order of its other ops. `done` runs once, later.
  void remove_object(const ObjectId& id, UniqueFunction<void()> done);

  // No op, cancel or ping is answered any more, and none that comes is begun. What executes ends
  // unheard.
  void fall_silent() { is_silent_ = true; }
  // Answers every op with kShutdown from now on, or kStaleMap if others are about to have its PG;
  // those that wait to be executed too.
  void stop();
  // `done` runs when nothing executes; at once if start() was not called. REQUIRES: stop().
  void drain(UniqueFunction<void()> done);

  // A share of the memory for replies to this peer; nothing if it has none left.
  msgr::FairShares::Held hold_reply(const msgr::Connection& connection, uint64_t bytes) const;

  ClientSessions& sessions() noexcept { return sessions_; }
  const OpTracker& tracker() const noexcept { return tracker_; }
  const WatchTable& watches() const noexcept { return watches_; }

 private:
  void end_watches_not_allowed();
  bool try_answer_resend(msgr::Connection& connection, const ClientOpRef& op);
  void admit(msgr::Connection& connection, ClientOpRef op);
  OsdErrc check_target(const ClientOp& op);
  void wait_for_map(msgr::Connection& connection, ClientOpRef op);
  void refuse(msgr::Connection& connection, const ClientOp& op, OsdErrc error);
  OsdErrc error_for_peer(const msgr::PeerIdentity& peer, const ClientOp& op, OsdErrc error) const;
  OsdErrc error_of_end(const ClientOp& op) const;
  bool is_of_rados(const ClientOp& op) const;
  void finish_later(ClientOpRef op, OsdErrc error);
  void on_executed(ClientOpRef op, OpResultRef result);
  void end(ClientOpRef op, OpResultRef result);
  void send_hello(msgr::Connection& connection, bool remembers);
  // ClientSessionsHost
  void execute(ClientOpRef op) override;
  std::vector<ClientOpRef> take_back(const std::vector<ClientOpRef>& ops) override;
  void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) override;
  void send_cancelled(msgr::Connection& connection, const objecter::CancelNote& note) override;
  void on_fenced(const ClientName& client, uint64_t up_to_nonce) override;

  msgr::EventCenter& center_;
  const StoreIdentity& identity_;
  const OpStore store_;
  const PoolStores& pools_;
  const OsdServerOptions& options_;
  ObjectVersions& versions_;
  AccessControl& access_;
  MapService& maps_;
  UnflushedLedger* ledger_ = nullptr;  // null before start()
  OpTracker tracker_;
  OneSidedCounters one_sided_;
  ClientSessions sessions_;
  objecter::Targeting targeting_;  // under the map of the op that was checked last
  WatchTable watches_;
  WatchOps watch_ops_;
  std::optional<BoundedExecutor> executor_;  // empty before start()
  // Those that are up, by id(), with the session each belongs to.
  std::map<uint64_t, ClientSessions::SessionId> connections_;
  MapWaiters map_waiters_;  // of connections_
  WaitingReplies waiting_replies_;
  bool is_stopping_ = false;
  bool is_silent_ = false;
};

}  // namespace lunar::osd
