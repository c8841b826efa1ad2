// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/authority_link.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace lunar::osd {

using objecter::MessageType;
using objecter::OsdErrc;
using objecter::ServerConnection;
using objecter::ServerRef;

namespace {

constexpr std::chrono::milliseconds kStagger{200};
constexpr std::size_t kMaxAsked = 32;

objecter::HuntPace pace_of(std::chrono::nanoseconds interval) noexcept {
  const auto pause = std::chrono::duration_cast<objecter::HuntPace::Pause>(interval);
  return {std::min<objecter::HuntPace::Pause>(pause, kStagger), pause, kMaxAsked};
}

// Whether the sender is the authority of this map on another store than the map says. Its epochs
// then count another history, which may have come to the same number: after a restore.
bool has_other_history(const objecter::ServerHello& hello, const objecter::OsdMap& map) {
  if (hello.osd != map.authority) return false;
  const objecter::OsdInfo* authority = map.find_osd(map.authority);
  return authority != nullptr && !authority->store.is_nil() && authority->store != hello.store;
}

}  // namespace

objecter::OsdBoot boot_for(const msgr::PeerIdentity& authority, objecter::OsdBoot boot) {
  if (!authority.follows_moves) boot.kind.reset();
  if (!authority.reads_pool_ids) boot.next_pool_id = 0;
  return boot;
}

AuthorityLink::AuthorityLink(msgr::EventCenter& center, msgr::Messenger& messenger,
                             BootingServer& us, Places places, Pace pace)
    : center_(center),
      us_(us),
      places_(std::move(places)),
      pace_(pace),
      hunt_(center, servers_, *this, pace_of(pace.retry)) {
  servers_.set_messenger(&messenger);
}

AuthorityLink::~AuthorityLink() { center_.cancel(heartbeat_); }

void AuthorityLink::start() {
  hunt_.start();
  send_heartbeats();
}

void AuthorityLink::stop() {
  center_.cancel(std::exchange(heartbeat_, msgr::TimerId::kNone));
  hunt_.stop();
}

// A question for the newest map will do.
void AuthorityLink::send_heartbeats() {
  if (is_booted() && hunt_.source()->has_link()) subscribe(*hunt_.source());
  heartbeat_ = center_.run_after(
      std::chrono::duration_cast<msgr::EventCenter::Clock::duration>(pace_.heartbeat),
      [this] { send_heartbeats(); });
}

// The authority's own addresses first, as far as they are known, then where others say that it is,
// then whoever may know better.
std::vector<msgr::Address> AuthorityLink::candidates() const {
  std::vector<msgr::Address> addresses;
  const auto add = [&](const msgr::Address& address) {
    if (std::find(addresses.begin(), addresses.end(), address) == addresses.end())
      addresses.push_back(address);
  };
  const objecter::OsdMapRef ours = us_.map();
  for (const objecter::OsdMapRef& map : {ours, hearsay_}) {
    if (map == nullptr) continue;
    const objecter::OsdInfo* authority = map->find_osd(known_authority().value_or(map->authority));
    if (authority == nullptr) continue;
    for (const msgr::Address& address : authority->addresses) add(address);
  }
  for (const msgr::Address& address : places_.bootstrap) add(address);
  return addresses;
}

// --- what we say ---

void AuthorityLink::send_boot(ServerConnection& server) {
  // Unless it is known, whoever answers may be the authority; anybody else says so.
  const objecter::OsdMapRef map = us_.map();
  if (!may_decide(server)) return;
  if (map && has_other_history(*server.hello(), *map)) {
    subscribe(server);  // once more: it may have been restored meanwhile
    return complain(fmt::format(
        "osd.{} at {} is on store {}, and the map authority that we know was on {}: if that is "
        "lost, restore a backup of the map there with lunar map restore; until then we wait",
        map->authority, server.address().to_string(), server.hello()->store.to_string(),
        map->find_osd(map->authority)->store.to_string()));
  }
  if (is_told_elsewhere(server)) return;
  told_[server.hello()->osd] = servers_.of(server.connection());
  server.send(MessageType::kOsdBoot, boot_for(server.connection().peer(), us_.make_boot()),
              msgr::Priority::kHigh);
}

// Whether this OSD has our boot by another of its addresses, and can answer there yet. Two sessions
// that have booted would be one too many: with the end of the other one we would be down.
bool AuthorityLink::is_told_elsewhere(const ServerConnection& server) const {
  const auto at = told_.find(server.hello()->osd);
  const ServerRef other = at == told_.end() ? nullptr : at->second.lock();
  return other != nullptr && other.get() != &server && hunt_.holds(*other) && other->hello() &&
         other->has_link();
}

void AuthorityLink::subscribe(ServerConnection& server) {
  const objecter::OsdMapRef map = us_.map();
  has_named_later_ = false;
  server.send(MessageType::kMapSubscribe, objecter::MapSubscribe{map ? map->epoch : 0},
              msgr::Priority::kHigh);
}

void AuthorityLink::want_map() {
  const ServerRef server = is_booted() ? hunt_.source() : hunt_.last_asked();
  if (server != nullptr && server->hello()) subscribe(*server);
}

void AuthorityLink::boot_again() {
  const ServerRef server = hunt_.source();
  if (server == nullptr) return;  // it boots already
  hunt_.doubt_source();
  if (server->hello()) send_boot(*server);
}

// By our own map or, before the first one, by configuration.
std::optional<objecter::OsdId> AuthorityLink::known_authority() const {
  const objecter::OsdMapRef ours = us_.map();
  return ours == nullptr ? places_.authority : ours->authority;
}

// Whether it is for this server to say what becomes of us: it was told of us, for all we know.
bool AuthorityLink::may_decide(const ServerConnection& server) const {
  const auto known = known_authority();
  return server.hello() && (!known || server.hello()->osd == *known);
}

// Whether the sender has proven to be the authority that we know or, if we know none, the one that
// its map names.
bool AuthorityLink::is_of_authority(const ServerConnection& server,
                                    const objecter::OsdMap& map) const {
  return server.may_be(known_authority().value_or(map.authority));
}

// An authority on another store has another history of the cluster. Its map counts only if it knows
// us, as one does that was restored from a backup: by any other we might give up our pools.
bool AuthorityLink::is_successor(const objecter::OsdMap& map) const {
  const objecter::OsdMapRef ours = us_.map();
  const objecter::OsdInfo* before = ours ? ours->find_osd(ours->authority) : nullptr;
  if (before == nullptr || before->store.is_nil()) return true;
  if (map.authority == ours->authority && map.find_osd(map.authority)->store == before->store)
    return true;
  const objecter::OsdBoot boot = us_.make_boot();
  const objecter::OsdInfo* us = map.find_osd(boot.osd);
  return us != nullptr && us->store == boot.store;
}

void AuthorityLink::complain(std::string problem) {
  if (problem != last_problem_) LUNAR_ERROR(kMap, "{}", problem);
  last_problem_ = std::move(problem);
}

// --- what we hear ---

void AuthorityLink::on_open(msgr::Connection& connection) { servers_.of(connection)->on_open(); }

void AuthorityLink::on_message(msgr::Connection& connection, const msgr::InMessage& message) {
  const ServerRef server = servers_.of(connection);
  switch (static_cast<MessageType>(message.meta.type)) {
    case MessageType::kServerHello:
      return on_hello(*server, message.front);
    case MessageType::kMap:
      return on_map(*server, message.front);
    case MessageType::kMapCurrent:
      return on_current(*server, message.front);
    case MessageType::kOsdBootReply:
      return on_boot_reply(server, message.front);
    default:
      return;
  }
}

void AuthorityLink::on_hello(ServerConnection& server, ConstBytes front) {
  const auto hello = objecter::decode_server_hello(front);
  if (!hello) return;
  const objecter::OsdBoot boot = us_.make_boot();
  if (!hello->fsid.is_nil() && hello->fsid != boot.fsid) {
    return complain("the server at " + server.address().to_string() + " belongs to cluster " +
                    hello->fsid.to_string() + ", not to ours (" + boot.fsid.to_string() +
                    "); check mon_host");  // it counts as silent: the hunt goes on
  }
  if (!server.may_be(hello->osd)) {
    return complain(fmt::format("{} at {} says that it is osd.{}, and has not proven that",
                                server.connection().peer().entity, server.address().to_string(),
                                hello->osd));  // as above
  }
  server.on_hello(*hello);
  subscribe(server);
  send_boot(server);
}

void AuthorityLink::on_map(ServerConnection& server, ConstBytes front) {
  if (!server.hello()) return;  // it is not heard
  auto map = objecter::decode_osd_map(front);
  if (!map) {
    LUNAR_ERROR(kMap, "the map that {} sent cannot be used: {}", server.address().to_string(),
                map.error().message);
    if (map.error().code == OsdErrc::kIncompatible && may_decide(server))
      us_.on_refused(OsdErrc::kIncompatible, map.error().message);
    return;
  }
  const objecter::OsdMapRef old = us_.map();
  if (map->fsid != us_.make_boot().fsid || (old && map->epoch <= old->epoch)) return;
  if (!is_of_authority(server, *map)) {
    // The last one counts, whatever its epoch: nobody has proven it.
    hearsay_ = std::make_shared<const objecter::OsdMap>(std::move(*map));
    return;
  }
  if (!is_successor(*map))
    return complain(
        fmt::format("map epoch {} that {} sent is of a map authority on another store, "
                    "and does not know ours: it is not used",
                    map->epoch, server.address().to_string()));
  us_.on_newer_map(std::move(*map));
}

// It has no later map, but perhaps another one of our epoch: then it has to make a later one.
void AuthorityLink::on_current(ServerConnection& server, ConstBytes front) {
  const objecter::OsdMapRef ours = us_.map();
  const auto current = objecter::decode_map_subscribe(front);
  if (!current || !ours || current->epoch != ours->epoch || !server.hello() ||
      !has_other_history(*server.hello(), *ours) || std::exchange(has_named_later_, true))
    return;
  server.send(MessageType::kMapSubscribe, objecter::MapSubscribe{ours->epoch + 1},
              msgr::Priority::kHigh);
}

void AuthorityLink::on_boot_reply(const ServerRef& server, ConstBytes front) {
  auto reply = objecter::decode_osd_boot_reply(front);
  if (!reply || !may_decide(*server)) return;
  told_.erase(server->hello()->osd);
  switch (reply->error) {
    case OsdErrc::kOk:
      hunt_.choose(server);
      last_problem_.clear();
      return us_.on_booted(reply->epoch);
    case OsdErrc::kStaleMap:  // not the authority
    case OsdErrc::kBusy:
    case OsdErrc::kIoError:
    case OsdErrc::kNoSpace:
    case OsdErrc::kShutdown:
      if (reply->message != last_problem_) LUNAR_LOG(kMap, 1, "{}", reply->message);
      last_problem_ = std::move(reply->message);
      return;  // the hunt goes on
    default:
      return us_.on_refused(reply->error, std::move(reply->message));
  }
}

void AuthorityLink::on_link(msgr::Connection& connection, bool is_up) {
  servers_.of(connection)->on_link(is_up);
}

void AuthorityLink::on_reset(msgr::Connection& connection, std::error_code why) {
  const ServerRef server = servers_.of(connection);
  server->on_reset(why);
  LUNAR_LOG(kMap, 1, "the session with {} is gone: {}", server->address().to_string(),
            why.message());
  // It may come back soon: it keeps what is left of its turn.
  if (server == hunt_.source()) hunt_.doubt_source();
}

}  // namespace lunar::osd
