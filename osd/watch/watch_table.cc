// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/watch_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/check.h"
#include "common/log.h"
#include "common/log_limited.h"
#include "objecter/protocol/placement.h"

// Whoever is told something is told by a message; a notify's `done` runs from a posted function.
// So nothing that is called here calls back into the table.

namespace lunar::osd {

using objecter::MessageType;
using objecter::PoolInfo;
using std::chrono::milliseconds;

WatchTable::WatchTable(msgr::EventCenter& center, Options options, PerfRegistry& perf,
                       uint32_t start)
    : center_(center),
      options_(options),
      counters_(perf),
      unread_(std::make_shared<msgr::FairShares>(options.unread)),
      settling_(options.timeout),
      notifies_(center, options.notifies, counters_, start) {}

// --- clients and their connections ---

WatchTable::Entry& WatchTable::entry_of(const ClientIdentity& id) {
  if (Entry* const known = find(id)) return *known;
  return clients_.emplace(id, Entry{{id, next_client_++, center_.now(), unread_}, {}})
      .first->second;
}

WatchTable::Entry* WatchTable::find(const ClientIdentity& id) {
  const auto at = clients_.find(id);
  return at == clients_.end() ? nullptr : &at->second;
}

WatchTable::Entry* WatchTable::find(const msgr::Connection& connection) {
  const msgr::PeerIdentity& peer = connection.peer();
  return find({peer.entity, peer.instance, peer.nonce});
}

void WatchTable::on_open(msgr::Connection& connection) {
  const msgr::PeerIdentity& peer = connection.peer();
  entry_of({peer.entity, peer.instance, peer.nonce}).client.attach(connection);
}

void WatchTable::on_link(msgr::Connection& connection, bool is_up) {
  Entry* const entry = find(connection);
  if (entry == nullptr) return;
  entry->client.on_link(connection, is_up, center_.now());
  if (is_up && entry->client.is_behind()) catch_up(*entry);
}

void WatchTable::on_reset(msgr::Connection& connection) {
  Entry* const entry = find(connection);
  if (entry == nullptr) return;
  entry->client.detach(connection, center_.now());
  forget_if_gone(*entry);
}

void WatchTable::forget_if_gone(Entry& entry) {
  if (!entry.client.has_connections() && entry.watches.empty())
    clients_.erase(ClientIdentity(entry.client.id()));
}

void WatchTable::on_ping(msgr::Connection& connection, ConstBytes front) {
  const auto ping = objecter::decode_watch_ping(front);
  const Entry* const entry = find(connection);
  if (!ping || entry == nullptr) return;
  counters_.watch_ping.add();
  send_encoded(entry->client, MessageType::kWatchPong, *ping);
}

// --- watches ---

Result<milliseconds> WatchTable::watch(const ClientIdentity& id, const ObjectId& object,
                                       uint64_t cookie, bool is_again) {
  Entry& entry = entry_of(id);
  if (entry.watches.contains({object, cookie})) {
    counters_.watch.add();
    notifies_.tell_again({&entry.client, cookie}, object);
    return options_.timeout;
  }
  if (is_again && settling(object).is_settled()) {
    counters_.watch_came_late.add();
    forget_if_gone(entry);
    return failure(OsdErrc::kWatchLost);
  }
  if (!has_room(entry, object)) {
    counters_.watch_refused.add();
    const auto known = objects_.find(object);
    LUNAR_LOG_LIMITED(kOsd, 0,
                      "{} ({}) is refused a watch of {}: it has {} watches already, the client {}",
                      id.entity, id.instance, object.name,
                      known == objects_.end() ? 0 : known->second.size(), entry.watches.size());
    forget_if_gone(entry);
    return failure(OsdErrc::kBusy);
  }
  counters_.watch.add();
  entry.watches.emplace(object, cookie);
  objects_[object].insert({&entry.client, cookie});
  ++watches_;
  ++watches_of_[id.entity];
  publish();
  return options_.timeout;
}

// No entity takes all: it has no more watches, of an object and of all, than there is room left for
// others.
bool WatchTable::has_room(const Entry& entry, const ObjectId& object) const {
  if (entry.watches.size() >= options_.max_watches_of_client) return false;
  const auto of_entity = watches_of_.find(entry.client.id().entity);
  const std::size_t held = of_entity == watches_of_.end() ? 0 : of_entity->second;
  if (held + watches_ >= options_.max_watches) return false;
  const auto known = objects_.find(object);
  if (known == objects_.end()) return options_.max_watches_of_object > 0;
  const auto own = std::count_if(
      known->second.begin(), known->second.end(),
      [&](const WatchKey& watch) { return watch.client->id().entity == entry.client.id().entity; });
  return static_cast<std::size_t>(own) + known->second.size() < options_.max_watches_of_object;
}

void WatchTable::unwatch(const ClientIdentity& id, const ObjectId& object, uint64_t cookie) {
  Entry* const entry = find(id);
  if (entry == nullptr || !entry->watches.contains({object, cookie})) return;
  counters_.unwatch.add();
  drop(*entry, object, cookie, OsdErrc::kOk);
  forget_if_gone(*entry);
}

void WatchTable::drop(Entry& entry, const ObjectId& object, uint64_t cookie, OsdErrc why) {
  const WatchKey watch{&entry.client, cookie};
  const auto watched = objects_.find(object);
  LUNAR_CHECK(watched != objects_.end(), "a watch of an object that nobody watches");
  entry.watches.erase({object, cookie});
  watched->second.erase(watch);
  entry.client.forget_missed(object, cookie);
  if (watched->second.empty()) objects_.erase(watched);
  --watches_;
  const auto count = watches_of_.find(entry.client.id().entity);
  if (--count->second == 0) watches_of_.erase(count);
  notifies_.on_watch_ended(watch, object, why != OsdErrc::kOk);
  if (why != OsdErrc::kOk)
    send_encoded(entry.client, MessageType::kWatchLost, objecter::WatchLost{object, cookie, why});
  publish();
}

void WatchTable::drop_all(Entry& entry, OsdErrc why) {
  for (const auto& [object, cookie] : std::set(entry.watches)) drop(entry, object, cookie, why);
}

void WatchTable::drop_all(const ObjectId& object, OsdErrc why) {
  const auto watched = objects_.find(object);
  if (watched == objects_.end()) return;
  const ObjectId kept = object;  // it may be the key of what goes
  for (const auto& [client, cookie] : std::set(watched->second)) {
    counters_.watch_lost.add();
    Entry& entry = clients_.at(client->id());
    drop(entry, kept, cookie, why);
    forget_if_gone(entry);
  }
}

objecter::WatcherList WatchTable::list(const ObjectId& object) const {
  objecter::WatcherList list;
  list.settling = settling(object);
  const auto watched = objects_.find(object);
  if (watched == objects_.end()) return list;
  for (const auto& [client, cookie] : watched->second)
    list.watchers.push_back({{client->id(), cookie},
                             client->address(),
                             client->is_connected(),
                             client->disconnected_for(center_.now())});
  std::sort(list.watchers.begin(), list.watchers.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  return list;
}

// --- notifies ---

void WatchTable::notify(const void* token, const ClientIdentity& notifier, const ObjectId& object,
                        milliseconds timeout, ConstBytes payload, PendingNotifies::Done done) {
  objecter::WatchNotify content;
  content.object = object;
  content.notifier = notifier;
  content.timeout = timeout;
  content.payload.assign(payload.begin(), payload.end());
  const auto watched = objects_.find(object);
  notifies_.begin(token, std::move(content),
                  watched == objects_.end() ? std::set<WatchKey>() : watched->second,
                  settling(object), std::move(done));
}

bool WatchTable::take_ack(const ClientIdentity& id, const ObjectId& object, uint64_t cookie,
                          uint64_t notify_id, ConstBytes reply) {
  Entry* const entry = find(id);
  return entry != nullptr && notifies_.take_ack({&entry->client, cookie}, object, notify_id, reply);
}

// --- what ends watches ---

void WatchTable::on_deleted(const ObjectId& object) { drop_all(object, OsdErrc::kNoSuchObject); }

void WatchTable::on_fenced(const std::string& entity, const std::string& instance,
                           uint64_t up_to_nonce) {
  std::vector<ClientIdentity> fenced;
  for (auto at = clients_.lower_bound({entity, instance, 0});
       at != clients_.end() && at->first <= ClientIdentity{entity, instance, up_to_nonce}; ++at)
    fenced.push_back(at->first);
  for (const ClientIdentity& id : fenced) {
    Entry& entry = clients_.at(id);
    counters_.watch_lost.add(entry.watches.size());
    drop_all(entry, OsdErrc::kFenced);
    forget_if_gone(entry);
  }
}

void WatchTable::drop_if(
    const std::function<bool(const std::string& entity, const ObjectId& object)>& ends) {
  std::vector<ClientIdentity> watching;
  for (const auto& [id, entry] : clients_)
    if (!entry.watches.empty()) watching.push_back(id);
  for (const ClientIdentity& id : watching) {
    Entry& entry = clients_.at(id);
    for (const auto& [object, cookie] : std::set(entry.watches)) {
      if (!ends(id.entity, object)) continue;
      counters_.watch_lost.add();
      drop(entry, object, cookie, OsdErrc::kNotPermitted);
    }
    forget_if_gone(entry);
  }
}

void WatchTable::on_map(const objecter::OsdMapRef& map, objecter::OsdId us) {
  settling_.on_map(map, center_.now());
  std::vector<std::pair<ObjectId, OsdErrc>> gone;
  for (const auto& [object, watches] : objects_) {
    const PoolInfo* const pool = map->find_pool(object.pool);
    if (pool == nullptr)
      gone.emplace_back(object, OsdErrc::kNoSuchPool);
    else if (objecter::osd_of_pg(*map, *pool, objecter::pg_of_object(*pool, object.name)) != us)
      gone.emplace_back(object, OsdErrc::kStaleMap);
  }
  for (const auto& [object, why] : gone) drop_all(object, why);
}

// A watch that has missed something is ended once its client can be told. Until then the client
// relies on it, so it is still listed.
void WatchTable::catch_up(Entry& entry) {
  for (const auto& [object, cookie] : entry.client.catch_up()) {
    counters_.watch_lost.add();
    drop(entry, object, cookie, OsdErrc::kWatchLost);
  }
  for (const auto& [object, cookie] : entry.watches)
    notifies_.tell_untold({&entry.client, cookie}, object);
}

void WatchTable::catch_up_all() {
  std::vector<ClientIdentity> behind;
  for (const auto& [id, entry] : clients_)
    if (entry.client.is_behind() && entry.client.is_connected()) behind.push_back(id);
  for (const ClientIdentity& id : behind) catch_up(clients_.at(id));
}

void WatchTable::tick() {
  if (watches_ == 0) return;
  catch_up_all();
  const auto now = center_.now();
  std::vector<ClientIdentity> expired;
  for (const auto& [id, entry] : clients_)
    if (!entry.watches.empty() && entry.client.is_away_for(options_.timeout, now))
      expired.push_back(id);
  for (const ClientIdentity& id : expired) {
    Entry& entry = clients_.at(id);
    LUNAR_LOG(kOsd, 0, "{} watches of {} ({}) start {} have expired: it was away for {} ms",
              entry.watches.size(), id.entity, id.instance, id.nonce,
              entry.client.disconnected_for(now).count());
    counters_.watch_expired.add(entry.watches.size());
    drop_all(entry, OsdErrc::kWatchLost);
    forget_if_gone(entry);
  }
}

void WatchTable::publish() {
  counters_.watches.set(watches_);
  counters_.watched_objects.set(objects_.size());
}

std::string WatchTable::to_json() const {
  using Json = nlohmann::ordered_json;
  const auto now = center_.now();
  Json watchers = Json::array();
  for (const auto& [object, watches] : objects_) {
    for (const auto& [client, cookie] : watches)
      watchers.push_back({{"pool", object.pool},
                          {"object", object.name},
                          {"entity", client->id().entity},
                          {"instance", client->id().instance},
                          {"nonce", client->id().nonce},
                          {"cookie", cookie},
                          {"address", client->address().to_string()},
                          {"connected", client->is_connected()},
                          {"disconnected_ms", client->disconnected_for(now).count()}});
  }
  const Json out = {{"timeout_ms", options_.timeout.count()},
                    {"serving_ms", settling_.served_for(now).count()},
                    {"notifies", notifies_.size()},
                    {"watchers", std::move(watchers)}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
