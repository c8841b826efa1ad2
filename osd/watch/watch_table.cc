// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/watch_table.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/check.h"
#include "common/log.h"
#include "objecter/protocol/placement.h"

// Whoever is told something is told by a message; a notify's `done` runs from a posted function.
// So nothing that is called here calls back into the table.

namespace lunar::osd {

using objecter::MessageType;
using objecter::PoolInfo;
using std::chrono::milliseconds;

namespace {

// No watch may look older than it is: rounded up, so that nobody acts a moment too early.
milliseconds ceil_ms(std::chrono::nanoseconds time) {
  return std::max(milliseconds(0), std::chrono::ceil<milliseconds>(time));
}

bool is_placed_alike(const PoolInfo& a, const PoolInfo& b) {
  return a.pg_num == b.pg_num && a.members == b.members;
}

}  // namespace

WatchTable::WatchTable(msgr::EventCenter& center, Options options, PerfRegistry& perf,
                       uint32_t start)
    : center_(center),
      options_(options),
      counters_(perf),
      next_notify_((uint64_t{start} << 32) + 1) {}

WatchTable::~WatchTable() {
  for (auto& [id, notify] : notifies_) center_.cancel(notify.timer);
}

// --- clients and their connections ---

WatchTable::WatchingClient& WatchTable::client_of(const ClientIdentity& id) {
  const auto [at, is_new] = clients_.try_emplace(id);
  if (is_new) {
    at->second.id = id;
    at->second.number = next_client_++;
    at->second.disconnected = center_.now();
  }
  return at->second;
}

WatchTable::WatchingClient* WatchTable::find(const ClientIdentity& id) {
  const auto at = clients_.find(id);
  return at == clients_.end() ? nullptr : &at->second;
}

void WatchTable::on_open(msgr::Connection& connection) {
  const msgr::PeerIdentity& peer = connection.peer();
  WatchingClient& client = client_of({peer.entity, peer.instance, peer.nonce});
  client.connections.push_back(connection.shared_from_this());
  client.address = peer.address;
  client.is_connected = true;
}

void WatchTable::on_link(msgr::Connection& connection, bool is_up) {
  const msgr::PeerIdentity& peer = connection.peer();
  WatchingClient* const client = find({peer.entity, peer.instance, peer.nonce});
  if (client == nullptr) return;
  if (is_up) {
    client->is_connected = true;
    client->address = peer.address;
  } else {
    update_connected(*client);
  }
}

void WatchTable::on_reset(msgr::Connection& connection) {
  const msgr::PeerIdentity& peer = connection.peer();
  WatchingClient* const client = find({peer.entity, peer.instance, peer.nonce});
  if (client == nullptr) return;
  std::erase_if(client->connections,
                [&](const msgr::ConnectionRef& each) { return each.get() == &connection; });
  update_connected(*client);
  forget_if_gone(*client);
}

void WatchTable::update_connected(WatchingClient& client) {
  const bool is_connected =
      std::any_of(client.connections.begin(), client.connections.end(),
                  [](const msgr::ConnectionRef& each) { return each->has_link(); });
  if (client.is_connected && !is_connected) client.disconnected = center_.now();
  client.is_connected = is_connected;
}

void WatchTable::forget_if_gone(WatchingClient& client) {
  if (client.connections.empty() && client.watches.empty() && client.notifies == 0)
    clients_.erase(ClientIdentity(client.id));
}

void WatchTable::on_ping(msgr::Connection& connection, ConstBytes front) {
  const auto ping = objecter::decode_watch_ping(front);
  const msgr::PeerIdentity& peer = connection.peer();
  const WatchingClient* const client = find({peer.entity, peer.instance, peer.nonce});
  if (!ping || client == nullptr) return;
  counters_.watch_ping.add();
  send(*client, MessageType::kWatchPong, *ping);
}

// On the connection that most likely gets there.
template <typename T>
void WatchTable::send(const WatchingClient& client, MessageType type, const T& content) {
  if (client.connections.empty()) return;
  const auto linked =
      std::find_if(client.connections.rbegin(), client.connections.rend(),
                   [](const msgr::ConnectionRef& each) { return each->has_link(); });
  msgr::Connection& to =
      linked != client.connections.rend() ? **linked : *client.connections.back();
  std::vector<std::byte> front;
  encode(content, front);
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  to.send(std::make_unique<msgr::SimpleMessage>(meta, std::move(front)));
}

milliseconds WatchTable::disconnected_for(const WatchingClient& client) const {
  if (client.is_connected) return milliseconds(0);
  return std::chrono::floor<milliseconds>(center_.now() - client.disconnected);
}

// --- watches ---

objecter::WatchSettling WatchTable::settling(const ObjectId& object) const {
  objecter::WatchSettling settling;
  settling.timeout = settling.settles_in = options_.timeout;
  if (!serving_) return settling;
  TimePoint since = *serving_;
  const auto changed = pools_since_.find(object.pool);
  if (changed != pools_since_.end()) since = std::max(since, changed->second);
  settling.settles_in = ceil_ms(since + options_.timeout - center_.now());
  return settling;
}

Result<milliseconds> WatchTable::watch(const ClientIdentity& id, const ObjectId& object,
                                       uint64_t cookie, bool is_again) {
  WatchingClient& client = client_of(id);
  if (client.watches.contains({object, cookie})) {
    counters_.watch.add();
    const WatchKey watch{&client, cookie};
    for (const uint64_t each : objects_.at(object).notifies) {
      const PendingNotify& notify = notifies_.at(each);
      if (notify.waits_for.contains(watch)) send_notify(each, notify, watch);
    }
    return options_.timeout;
  }
  if (is_again && settling(object).is_settled()) {
    counters_.watch_came_late.add();
    forget_if_gone(client);
    return failure(OsdErrc::kWatchLost);
  }
  const auto known = objects_.find(object);
  const std::size_t others = known == objects_.end() ? 0 : known->second.watches.size();
  // No entity takes all: it has no more than what is left for others.
  const std::size_t own = known == objects_.end() ? 0 : watches_of(id.entity, known->second);
  if (own + others >= options_.max_watches_of_object ||
      client.watches.size() >= options_.max_watches_of_client) {
    counters_.watch_refused.add();
    LUNAR_LOG(kOsd, 0, "{} ({}) is refused a watch of {}: it has {} watches already, the client {}",
              id.entity, id.instance, object.name, others, client.watches.size());
    forget_if_gone(client);
    return failure(OsdErrc::kBusy);
  }
  counters_.watch.add();
  client.watches.emplace(object, cookie);
  objects_[object].watches.insert({&client, cookie});
  ++watches_;
  publish();
  return options_.timeout;
}

std::size_t WatchTable::watches_of(const std::string& entity, const WatchedObject& watched) const {
  return static_cast<std::size_t>(
      std::count_if(watched.watches.begin(), watched.watches.end(),
                    [&](const WatchKey& watch) { return watch.client->id.entity == entity; }));
}

void WatchTable::unwatch(const ClientIdentity& id, const ObjectId& object, uint64_t cookie) {
  WatchingClient* const client = find(id);
  if (client == nullptr || !client->watches.contains({object, cookie})) return;
  counters_.unwatch.add();
  drop(*client, object, cookie, OsdErrc::kOk);
  forget_if_gone(*client);
}

void WatchTable::drop(WatchingClient& client, const ObjectId& object, uint64_t cookie,
                      OsdErrc why) {
  const WatchKey watch{&client, cookie};
  const auto watched = objects_.find(object);
  LUNAR_CHECK(watched != objects_.end(), "a watch of an object that nobody watches");
  client.watches.erase({object, cookie});
  watched->second.watches.erase(watch);
  --watches_;
  for (const uint64_t id : watched->second.notifies) {
    PendingNotify& notify = notifies_.at(id);
    if (notify.waits_for.erase(watch) == 0) continue;
    if (why != OsdErrc::kOk) miss(notify, watch);
    finish_if_complete(id, notify);
  }
  if (why != OsdErrc::kOk)
    send(client, MessageType::kWatchLost, objecter::WatchLost{object, cookie, why});
  forget_object(object);
  publish();
}

void WatchTable::forget_object(const ObjectId& object) {
  const auto at = objects_.find(object);
  if (at != objects_.end() && at->second.watches.empty() && at->second.notifies.empty())
    objects_.erase(at);
}

void WatchTable::drop_all(WatchingClient& client, OsdErrc why) {
  for (const auto& [object, cookie] : std::set(client.watches)) drop(client, object, cookie, why);
}

void WatchTable::drop_all(const ObjectId& object, OsdErrc why) {
  const auto watched = objects_.find(object);
  if (watched == objects_.end()) return;
  const ObjectId kept = object;  // it may be the key of what goes
  for (const auto& [client, cookie] : std::set(watched->second.watches)) {
    counters_.watch_lost.add();
    drop(*client, kept, cookie, why);
    forget_if_gone(*client);
  }
}

objecter::WatcherList WatchTable::list(const ObjectId& object) const {
  objecter::WatcherList list;
  list.settling = settling(object);
  const auto watched = objects_.find(object);
  if (watched == objects_.end()) return list;
  for (const auto& [client, cookie] : watched->second.watches)
    list.watchers.push_back(
        {{client->id, cookie}, client->address, client->is_connected, disconnected_for(*client)});
  std::sort(list.watchers.begin(), list.watchers.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  return list;
}

// --- notifies ---

void WatchTable::notify(const void* token, const ClientIdentity& notifier, const ObjectId& object,
                        milliseconds timeout, ConstBytes payload, NotifyDone done) {
  WatchingClient& client = client_of(notifier);
  WatchedObject& watched = objects_[object];
  const uint64_t id = next_notify_++;
  PendingNotify& notify = notifies_[id];
  ++client.notifies;
  watched.notifies.insert(id);
  notify.token = token;
  notify.notifier = &client;
  notify.object = object;
  notify.done = std::move(done);
  notify.result.settling = settling(object);
  counters_.notifies_active.set(notifies_.size());
  if (is_stopped_ || watched.notifies.size() > options_.max_notifies_of_object ||
      client.notifies > options_.max_notifies_of_client) {
    if (!is_stopped_) counters_.notify_refused.add();
    notify.error = is_stopped_ ? OsdErrc::kShutdown : OsdErrc::kBusy;
    return finish(id, notify);
  }
  counters_.notify.add();
  notify.payload.assign(payload.begin(), payload.end());
  notify.deadline = center_.now() + timeout;
  notify.waits_for = watched.watches;
  for (const WatchKey& watch : notify.waits_for) send_notify(id, notify, watch);
  notify.timer = center_.run_after(timeout, [this, id] { time_out(id); });
  finish_if_complete(id, notify);
}

void WatchTable::send_notify(uint64_t id, const PendingNotify& notify, const WatchKey& watch) {
  objecter::WatchNotify message;
  message.notify_id = id;
  message.object = notify.object;
  message.cookie = watch.cookie;
  message.notifier = notify.notifier->id;
  message.timeout = ceil_ms(notify.deadline - center_.now());
  message.payload = notify.payload;
  counters_.notify_out.add();
  send(*watch.client, MessageType::kWatchNotify, message);
}

bool WatchTable::take_ack(const ClientIdentity& id, const ObjectId& object, uint64_t cookie,
                          uint64_t notify_id, ConstBytes reply) {
  WatchingClient* const client = find(id);
  const auto at = notifies_.find(notify_id);
  if (client == nullptr || at == notifies_.end() || at->second.object != object) return false;
  PendingNotify& notify = at->second;
  if (notify.waits_for.erase({client, cookie}) == 0) return false;
  counters_.notify_ack.add();
  objecter::NotifyAck& ack = notify.result.acks.emplace_back();
  ack.who = {id, cookie};
  if (notify.ack_bytes + reply.size() <= objecter::WatchLimits::kMaxAckBytes) {
    notify.ack_bytes += reply.size();
    ack.reply.assign(reply.begin(), reply.end());
  }
  finish_if_complete(notify_id, notify);
  return true;
}

void WatchTable::miss(PendingNotify& notify, const WatchKey& watch) {
  counters_.notify_missed.add();
  notify.result.missed.push_back({watch.client->id, watch.cookie});
}

void WatchTable::finish_if_complete(uint64_t id, PendingNotify& notify) {
  if (notify.waits_for.empty()) finish(id, notify);
}

void WatchTable::time_out(uint64_t id) {
  PendingNotify& notify = notifies_.at(id);
  notify.timer = msgr::TimerId::kNone;
  for (const WatchKey& watch : std::exchange(notify.waits_for, {})) miss(notify, watch);
  finish(id, notify);
}

// It stays until its `done` runs, so that it can still be taken back.
void WatchTable::finish(uint64_t id, PendingNotify& notify) {
  if (notify.is_finished) return;
  notify.is_finished = true;
  center_.cancel(std::exchange(notify.timer, msgr::TimerId::kNone));
  center_.post([this, id] { run_done(id); });
}

void WatchTable::run_done(uint64_t id) {
  const auto at = notifies_.find(id);
  if (at == notifies_.end()) return;  // taken back
  NotifyDone done = std::move(at->second.done);
  Result<objecter::NotifyResult> result = std::move(at->second.result);
  if (at->second.error != OsdErrc::kOk) result = failure(at->second.error);
  forget(id, at->second);
  done(std::move(result));
}

bool WatchTable::take_back(const void* token) {
  const auto at = std::find_if(notifies_.begin(), notifies_.end(),
                               [&](const auto& each) { return each.second.token == token; });
  if (at == notifies_.end()) return false;
  forget(at->first, at->second);
  return true;
}

void WatchTable::forget(uint64_t id, PendingNotify& notify) {
  center_.cancel(notify.timer);
  const ObjectId object = notify.object;
  objects_.at(object).notifies.erase(id);
  forget_object(object);
  WatchingClient& notifier = *notify.notifier;
  --notifier.notifies;
  forget_if_gone(notifier);
  notifies_.erase(id);
  counters_.notifies_active.set(notifies_.size());
}

void WatchTable::stop() {
  is_stopped_ = true;
  for (auto& [id, notify] : notifies_) {
    if (!notify.is_finished) notify.error = OsdErrc::kShutdown;
    finish(id, notify);
  }
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
    WatchingClient& client = clients_.at(id);
    counters_.watch_lost.add(client.watches.size());
    drop_all(client, OsdErrc::kFenced);
    forget_if_gone(client);
  }
}

void WatchTable::drop_if(
    const std::function<bool(const std::string& entity, const ObjectId& object)>& ends) {
  std::vector<ClientIdentity> watching;
  for (const auto& [id, client] : clients_)
    if (!client.watches.empty()) watching.push_back(id);
  for (const ClientIdentity& id : watching) {
    WatchingClient& client = clients_.at(id);
    for (const auto& [object, cookie] : std::set(client.watches)) {
      if (!ends(id.entity, object)) continue;
      counters_.watch_lost.add();
      drop(client, object, cookie, OsdErrc::kNotPermitted);
    }
    forget_if_gone(client);
  }
}

void WatchTable::on_map(const objecter::OsdMapRef& map, objecter::OsdId us) {
  if (map_ != nullptr) {
    for (const PoolInfo& pool : map->pools) {
      const PoolInfo* const before = map_->find_pool(pool.id);
      if (before == nullptr || !is_placed_alike(*before, pool))
        pools_since_[pool.id] = center_.now();
    }
  }
  std::erase_if(pools_since_,
                [&](const auto& each) { return map->find_pool(each.first) == nullptr; });
  map_ = map;
  std::vector<std::pair<ObjectId, OsdErrc>> gone;
  for (const auto& [object, watched] : objects_) {
    const PoolInfo* const pool = map->find_pool(object.pool);
    if (pool == nullptr)
      gone.emplace_back(object, OsdErrc::kNoSuchPool);
    else if (objecter::osd_of_pg(*pool, objecter::pg_of_object(*pool, object.name)) != us)
      gone.emplace_back(object, OsdErrc::kStaleMap);
  }
  for (const auto& [object, why] : gone) drop_all(object, why);
}

void WatchTable::on_serving() {
  if (!serving_) serving_ = center_.now();
}

void WatchTable::tick() {
  if (watches_ == 0) return;
  const TimePoint now = center_.now();
  std::vector<ClientIdentity> expired;
  for (const auto& [id, client] : clients_) {
    if (client.watches.empty() || client.is_connected) continue;
    if (now - client.disconnected >= options_.timeout) expired.push_back(id);
  }
  for (const ClientIdentity& id : expired) {
    WatchingClient& client = clients_.at(id);
    LUNAR_LOG(kOsd, 0, "{} watches of {} ({}) start {} have expired: it was away for {} ms",
              client.watches.size(), id.entity, id.instance, id.nonce,
              disconnected_for(client).count());
    counters_.watch_expired.add(client.watches.size());
    drop_all(client, OsdErrc::kWatchLost);
    forget_if_gone(client);
  }
}

void WatchTable::publish() {
  counters_.watches.set(watches_);
  counters_.watched_objects.set(objects_.size());
}

std::string WatchTable::to_json() const {
  using Json = nlohmann::ordered_json;
  Json watchers = Json::array();
  for (const auto& [object, watched] : objects_) {
    for (const auto& [client, cookie] : watched.watches)
      watchers.push_back({{"pool", object.pool},
                          {"object", object.name},
                          {"entity", client->id.entity},
                          {"instance", client->id.instance},
                          {"nonce", client->id.nonce},
                          {"cookie", cookie},
                          {"address", client->address.to_string()},
                          {"connected", client->is_connected},
                          {"disconnected_ms", disconnected_for(*client).count()}});
  }
  const auto served =
      serving_ ? std::chrono::floor<milliseconds>(center_.now() - *serving_) : milliseconds(0);
  const Json out = {{"timeout_ms", options_.timeout.count()},
                    {"serving_ms", served.count()},
                    {"notifies", notifies_.size()},
                    {"watchers", std::move(watchers)}};
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
