// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/perf_counters.h"
#include "msgr/connection.h"
#include "msgr/event_center.h"
#include "msgr/fair_shares.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"
#include "osd/watch/pending_notifies.h"
#include "osd/watch/pg_settling.h"
#include "osd/watch/watch_counters.h"
#include "osd/watch/watching_client.h"

namespace lunar::osd {

// Who watches which objects of this server: state in memory, as long as the process lives. A watch
// lives while its client's start has a connection with a link, and `timeout` beyond; whoever comes
// back within that has it still. The notifies of watched objects are PendingNotifies; from when on
// a client without a watch counts as dead is PgSettling's.
//
// Loop-bound. Shares connections of clients; borrows center and registry. REQUIRES at destruction:
// stop() was called, and what it posted has run; or no notify was ever begun.
class WatchTable {
 public:
  struct Options {
    std::chrono::milliseconds timeout{std::chrono::seconds(30)};  // osd_client_watch_timeout
    std::size_t max_watches_of_object = 4096;
    std::size_t max_watches_of_client = 16'384;  // of one start
    std::size_t max_watches = 131'072;           // of all
    PendingNotifies::Limits notifies;
    // Of what watchers are told and have not read: in all, of one start of a client, and what each
    // has in any case.
    msgr::FairShares::Limits unread{64u << 20, 1u << 20, 16u << 10};
  };
  using ObjectId = objecter::ObjectId;
  using ClientIdentity = objecter::ClientIdentity;
  using OsdErrc = objecter::OsdErrc;

  // `start` makes ids of notifies that no other start of the server makes.
  WatchTable(msgr::EventCenter& center, Options options, PerfRegistry& perf, uint32_t start);

  // --- connections, of clients and others ---

  void on_open(msgr::Connection& connection);
  void on_link(msgr::Connection& connection, bool is_up);
  void on_reset(msgr::Connection& connection);
  void on_ping(msgr::Connection& connection, ConstBytes front);

  // --- ops on an object that exists, in the order of its other ops ---

  // The watch timeout. `is_again`: the client says that it had this watch; kWatchLost if it may
  // have been taken for dead since. kBusy: too many watches, of the object, of this start, or of
  // its entity, on the object or in all: as many as there is room for others. One that is here is
  // confirmed,
  // and its client told again of the notifies that it did not ack.
  Result<std::chrono::milliseconds> watch(const ClientIdentity& client, const ObjectId& object,
                                          uint64_t cookie, bool is_again);
  void unwatch(const ClientIdentity& client, const ObjectId& object, uint64_t cookie);
  // Tells the watchers. `done` runs once, later, unless take_back() came first. kBusy: too many.
  // `token` is of no other notify under way.
  void notify(const void* token, const ClientIdentity& notifier, const ObjectId& object,
              std::chrono::milliseconds timeout, ConstBytes payload, PendingNotifies::Done done);
  // As in PendingNotifies.
  bool take_back(const void* token) { return notifies_.take_back(token); }
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
  void on_serving() { settling_.on_serving(center_.now()); }
  // Often: tells watchers what they could not be told before, ends the watches of those that have
  // missed something now that they hear of it, and those whose clients were away for too long.
  void tick();
  // Ends notifies with kShutdown, those that come later too.
  void stop() { notifies_.stop(); }

  std::string to_json() const;  // for the admin socket
  std::size_t watches() const noexcept { return watches_; }

 private:
  struct Entry {
    WatchingClient client;
    std::set<std::pair<ObjectId, uint64_t>> watches;  // object and cookie
  };

  objecter::WatchSettling settling(const ObjectId& object) const {
    return settling_.of_pool(object.pool, center_.now());
  }
  Entry& entry_of(const ClientIdentity& id);
  Entry* find(const ClientIdentity& id);
  Entry* find(const msgr::Connection& connection);
  void catch_up(Entry& entry);
  void catch_up_all();
  void forget_if_gone(Entry& entry);
  bool has_room(const Entry& entry, const ObjectId& object) const;
  // Why a watch ends: kOk, its client wanted it so.
  void drop(Entry& entry, const ObjectId& object, uint64_t cookie, OsdErrc why);
  void drop_all(Entry& entry, OsdErrc why);
  void drop_all(const ObjectId& object, OsdErrc why);
  void publish();

  msgr::EventCenter& center_;
  const Options options_;
  WatchCounters counters_;
  const std::shared_ptr<msgr::FairShares> unread_;
  PgSettling settling_;
  std::map<ClientIdentity, Entry> clients_;         // with connections or watches
  std::map<ObjectId, std::set<WatchKey>> objects_;  // the watches of clients_; none is empty
  PendingNotifies notifies_;                        // of watches in objects_
  uint64_t next_client_ = 1;
  std::size_t watches_ = 0;                                     // of all objects
  std::map<std::string, std::size_t, std::less<>> watches_of_;  // by entity; none is 0
};

}  // namespace lunar::osd
