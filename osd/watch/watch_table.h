// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/perf_counters.h"
#include "common/unique_function.h"
#include "msgr/connection.h"
#include "msgr/event_center.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"
#include "osd/watch/watch_counters.h"

namespace lunar::osd {

// Who watches which objects of this server, and the notifies that wait for acks: state in memory,
// as long as the process lives. A watch lives while its client's start has a connection with a
// link, and `timeout` beyond; whoever comes back within that has it still.
//
// A client without a watch here counts as dead only after the server has served the object's PG for
// longer than the timeout: until then it may be coming back from before a restart, or from another
// server.
//
// Loop-bound. Shares connections of clients; borrows center and registry. REQUIRES at destruction:
// stop() was called, and what it posted has run; or no notify was ever begun.
class WatchTable {
 public:
  struct Options {
    std::chrono::milliseconds timeout{std::chrono::seconds(30)};  // osd_client_watch_timeout
    std::size_t max_watches_of_object = 4096;
    std::size_t max_watches_of_client = 16'384;  // of one start
    std::size_t max_notifies_of_object = 64;     // that wait for acks
    std::size_t max_notifies_of_client = 64;
  };
  using ObjectId = objecter::ObjectId;
  using ClientIdentity = objecter::ClientIdentity;
  using OsdErrc = objecter::OsdErrc;
  using NotifyDone = UniqueFunction<void(Result<objecter::NotifyResult>)>;

  // `start` makes ids of notifies that no other start of the server makes.
  WatchTable(msgr::EventCenter& center, Options options, PerfRegistry& perf, uint32_t start);
  ~WatchTable();

  // --- connections, of clients and others ---

  void on_open(msgr::Connection& connection);
  void on_link(msgr::Connection& connection, bool is_up);
  void on_reset(msgr::Connection& connection);
  void on_ping(msgr::Connection& connection, ConstBytes front);

  // --- ops on an object that exists, in the order of its other ops ---

  // The watch timeout. `is_again`: the client says that it had this watch; kWatchLost if it may
  // have been taken for dead since. kBusy: too many watches, of the object, of this start, or of
  // its entity on the object: as many as there is room for others. One that is here is confirmed,
  // and its client told again of the notifies that it did not ack.
  Result<std::chrono::milliseconds> watch(const ClientIdentity& client, const ObjectId& object,
                                          uint64_t cookie, bool is_again);
  void unwatch(const ClientIdentity& client, const ObjectId& object, uint64_t cookie);
  // Tells the watchers. `done` runs once, later, unless take_back() came first. kBusy: too many.
  // `token` is of no other notify under way.
  void notify(const void* token, const ClientIdentity& notifier, const ObjectId& object,
              std::chrono::milliseconds timeout, ConstBytes payload, NotifyDone done);
  // Forgets a notify: true, and its `done` does not run. False if there is none with this token.
  bool take_back(const void* token);
  // False if that notify does not wait for this watcher.
  bool take_ack(const ClientIdentity& client, const ObjectId& object, uint64_t cookie,
                uint64_t notify_id, ConstBytes reply);
  objecter::WatcherList list(const ObjectId& object) const;

  // --- what ends watches ---

  void on_deleted(const ObjectId& object);
  // All starts of this client up to this nonce lose their watches, and are told.
  void on_fenced(const std::string& entity, const std::string& instance, uint64_t up_to_nonce);
  // Watches for which `ends` says so end, with kNotPermitted.
  void drop_if(const std::function<bool(const std::string& entity, const ObjectId& object)>& ends);
  // A map is ours: watches of PGs that it gives to others end, and those of pools that are gone.
  void on_map(const objecter::OsdMapRef& map, objecter::OsdId us);
  // The cluster serves ops here from now on; the first call counts.
  void on_serving();
  // Often: ends the watches whose clients were away for too long.
  void tick();
  // Ends notifies with kShutdown, those that come later too.
  void stop();

  objecter::WatchSettling settling(const ObjectId& object) const;
  std::string to_json() const;  // for the admin socket
  std::size_t watches() const noexcept { return watches_; }

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct WatchingClient {
    ClientIdentity id;
    uint64_t number = 0;                           // never reused
    std::vector<msgr::ConnectionRef> connections;  // open ones; the newest last
    msgr::Address address;                         // of the newest link
    TimePoint disconnected;                        // since when none of them has a link
    bool is_connected = false;                     // one of them has
    std::set<std::pair<ObjectId, uint64_t>> watches;
    std::size_t notifies = 0;  // that it waits for
  };
  // Ordered by who came first, and never by an address: the simulator repeats a run.
  struct WatchKey {
    WatchingClient* client;
    uint64_t cookie;
    friend bool operator<(const WatchKey& a, const WatchKey& b) noexcept {
      return std::pair(a.client->number, a.cookie) < std::pair(b.client->number, b.cookie);
    }
  };
  struct WatchedObject {
    std::set<WatchKey> watches;
    std::set<uint64_t> notifies;
  };
  struct PendingNotify {
    const void* token = nullptr;
    WatchingClient* notifier = nullptr;  // lives as long as this
    ObjectId object;
    std::vector<std::byte> payload;
    TimePoint deadline;
    msgr::TimerId timer = msgr::TimerId::kNone;
    std::set<WatchKey> waits_for;
    objecter::NotifyResult result;
    std::size_t ack_bytes = 0;
    OsdErrc error = OsdErrc::kOk;
    bool is_finished = false;  // done is posted
    NotifyDone done;
  };
  using Objects = std::map<ObjectId, WatchedObject>;

  std::size_t watches_of(const std::string& entity, const WatchedObject& watched) const;
  WatchingClient& client_of(const ClientIdentity& id);
  WatchingClient* find(const ClientIdentity& id);
  void update_connected(WatchingClient& client);
  void forget_if_gone(WatchingClient& client);
  // Why a watch ends: kOk, its client wanted it so.
  void drop(WatchingClient& client, const ObjectId& object, uint64_t cookie, OsdErrc why);
  void drop_all(WatchingClient& client, OsdErrc why);
  void drop_all(const ObjectId& object, OsdErrc why);
  void send_notify(uint64_t id, const PendingNotify& notify, const WatchKey& watch);
  void miss(PendingNotify& notify, const WatchKey& watch);
  void finish_if_complete(uint64_t id, PendingNotify& notify);
  void time_out(uint64_t id);
  void finish(uint64_t id, PendingNotify& notify);
  void run_done(uint64_t id);
  void forget(uint64_t id, PendingNotify& notify);
  void forget_object(const ObjectId& object);
  template <typename T>
  void send(const WatchingClient& client, objecter::MessageType type, const T& content);
  std::chrono::milliseconds disconnected_for(const WatchingClient& client) const;
  void publish();

  msgr::EventCenter& center_;
  const Options options_;
  WatchCounters counters_;
  std::map<ClientIdentity, WatchingClient> clients_;  // with connections, watches or notifies
  Objects objects_;                                   // with watches or notifies
  std::map<uint64_t, PendingNotify> notifies_;
  uint64_t next_notify_;
  uint64_t next_client_ = 1;
  std::size_t watches_ = 0;  // of all objects
  std::optional<TimePoint> serving_;
  objecter::OsdMapRef map_;                            // null before the first
  std::map<objecter::PoolId, TimePoint> pools_since_;  // when the placement of a pool changed last
  bool is_stopped_ = false;
};

}  // namespace lunar::osd
