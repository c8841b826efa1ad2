// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_service.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/json.h"
#include "common/log_limited.h"
#include "objecter/protocol/osd_op.h"
#include "osd/map/map_boot.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {

using objecter::MessageType;
using objecter::OsdMap;
using objecter::OsdMapRef;

namespace {

std::optional<OsdId> osd_named(std::string_view entity) {
  constexpr std::string_view kPrefix = "osd.";
  if (!entity.starts_with(kPrefix)) return std::nullopt;
  OsdId id = -1;
  const auto [end, error] =
      std::from_chars(entity.data() + kPrefix.size(), entity.data() + entity.size(), id);
  if (error != std::errc() || end != entity.data() + entity.size() || id < 0) return std::nullopt;
  return id;
}

// A sentence if a pool of ours has the id of another one there: their objects would mix. Else
// empty.
std::string why_mixed(const OsdMap& ours, const OsdMap& map) {
  for (const objecter::PoolInfo& pool : ours.pools) {
    const objecter::PoolInfo* there = map.find_pool(pool.id);
    if (there == nullptr || is_same_pool(pool, *there)) continue;
    return fmt::format(
        "pool {} is '{}' in our map epoch {} and '{}' in epoch {} of the authority, whose store "
        "was "
        "put back to an older state: its objects would mix with ours; restore the newest map "
        "there, see `lunar map backup --any-server`",
        pool.id, pool.name, ours.epoch, there->name, map.epoch);
  }
  return {};
}

}  // namespace

MapService::MapService(msgr::EventCenter& center, ServerRecords& records, StoreFencing& fencing,
                       AccessControl& access, MapServiceHost& host, OsdMapRef map, Options options)
    : center_(center),
      fencing_(fencing),
      host_(host),
      options_(std::move(options)),
      map_(std::move(map)),
      subscribers_(access),
      watched_(center, options_.graces, [this](OsdId osd) { on_down(osd); }),
      keeper_(records, [this](OsdMapRef kept) { publish(std::move(kept)); }) {
  if (map_ && map_->authority == options_.identity.osd) {
    authority_ = std::make_unique<MapAuthority>(
        records, fencing, map_, [this](OsdMapRef changed) { publish(std::move(changed)); });
  }
}

objecter::OsdBoot MapService::make_boot() {
  objecter::OsdBoot boot;
  boot.osd = options_.identity.osd;
  boot.fsid = options_.identity.fsid;
  boot.store = options_.identity.store;
  boot.incarnation = options_.incarnation;
  boot.previous = options_.previous;
  boot.epoch = epoch();
  boot.addresses = addresses_;
  boot.kind = fencing_.kind();
  boot.rados_client = fencing_.client();
  if (map_) boot.next_pool_id = map_->next_pool_id;
  return boot;
}

void MapService::start(msgr::Messenger& messenger, std::vector<msgr::Address> addresses) {
  addresses_ = std::move(addresses);
  if (!authority_) {
    link_ = std::make_unique<AuthorityLink>(
        center_, messenger, static_cast<BootingServer&>(*this),
        AuthorityLink::Places{options_.bootstrap, options_.authority}, options_.pace);
    return link_->start();
  }
  // Whoever was up has to come back in time.
  for (const objecter::OsdInfo& osd : map_->osds)
    if (osd.up && osd.id != options_.identity.osd) watched_.expect(osd.id);
  authority_->boot(make_boot(), {}, [this](objecter::OsdBootReply reply) {
    if (reply.error == OsdErrc::kOk) return on_booted(reply.epoch);
    on_refused(reply.error, std::move(reply.message));
  });
}

void MapService::stop(UniqueFunction<void()> done) {
  is_stopping_ = true;
  stopped_ = std::move(done);
  watched_.stop();
  if (link_) link_->stop();  // an orderly end, by which the authority knows
  // An authority in RADOS stays up: nobody could fence it, and its PGs wait for it.
  if (authority_ && !is_refused_ && fencing_.client().empty())
    authority_->osd_is_down(options_.identity.osd, [](const Outcome<void>&) {});
  const auto finished = [this] { center_.post([this] { std::exchange(stopped_, {})(); }); };
  if (authority_ && authority_->is_busy())
    authority_->drain(finished);
  else if (keeper_.is_busy())
    keeper_.drain([this] { std::exchange(stopped_, {})(); });
  else
    finished();
}

// --- maps ---

void MapService::publish(OsdMapRef map) {
  map_ = std::move(map);
  LUNAR_LOG(kMap, 1, "map epoch {}", map_->epoch);
  subscribers_.publish(map_);
  if (std::string why = why_replaced(); !why.empty())
    return on_refused(OsdErrc::kExists, std::move(why));
  if (is_set_aside())
    return host_.on_set_aside(
        fmt::format("it is down in map epoch {}, and others have its PGs", map_->epoch));
  host_.on_map(map_);
  ready_if_up();
  // Somebody marked us down although we are not: `osd down`, or a grace that ended too early. Also
  // if we have booted and do not serve yet.
  if (is_stopping_ || is_refused_ || map_->epoch < booted_epoch_ || is_up_as_we_are()) return;
  if (link_ && link_->is_booted()) link_->boot_again();
  if (authority_ && is_ready_ && map_->find_osd(options_.identity.osd) != nullptr)
    authority_->boot(make_boot(), {}, [](const objecter::OsdBootReply&) {});
}

// This start of ours is up in the map, and can be reached.
bool MapService::is_up_as_we_are() const {
  const objecter::OsdInfo* us = map_->find_osd(options_.identity.osd);
  return us != nullptr && us->up && us->addresses == addresses_ &&
         us->incarnation == options_.incarnation;
}

// Once we were up with our RADOS client, a map without it says that it is fenced. An authority of
// an earlier release names none.
bool MapService::is_set_aside() const {
  if (authority_ || fencing_.client().empty() || booted_epoch_ == 0 || map_->epoch < booted_epoch_)
    return false;
  const objecter::OsdInfo* us = map_->find_osd(options_.identity.osd);
  if (us == nullptr || !us->up) return true;
  return !us->rados_client.empty() && us->rados_client != fencing_.client();
}

// A sentence if the map means another store by our id, or another start of ours; else empty.
std::string MapService::why_replaced() const {
  const OsdId osd = options_.identity.osd;
  const objecter::OsdInfo* us = map_->find_osd(osd);
  if (us == nullptr || us->store.is_nil()) return {};
  if (us->store != options_.identity.store)
    return fmt::format(
        "osd.{} is store {} in map epoch {}, and this server runs on store {}: it serves no more; "
        "start it on the store that the map names, or see `lunar osd replace`",
        osd, us->store.to_string(), map_->epoch, options_.identity.store.to_string());
  const bool is_ours = us->incarnation == 0 || us->incarnation == options_.incarnation;
  if (is_ours || (!is_ready_ && us->incarnation < options_.incarnation)) return {};
  return fmt::format(
      "osd.{} was started elsewhere on a copy of store {}, as map epoch {} says: this server "
      "serves "
      "no more; only one of the copies must run",
      osd, us->store.to_string(), map_->epoch);
}

void MapService::on_newer_map(OsdMap map) {
  const OsdMapRef newest = keeper_.newest() ? keeper_.newest() : map_;
  if (newest && map.epoch <= newest->epoch) return;
  // A restored map may know of fewer pools than we have had. The authority hears of them by our
  // next boot, however late that is.
  if (newest) {
    if (const std::string why = why_mixed(*newest, map); !why.empty())
      return on_refused(OsdErrc::kIncompatible, why);
    OsdMap wider = map;
    know_of_pool_ids(wider, newest->next_pool_id);
    if (const auto valid = objecter::validate(wider); valid)
      map = std::move(wider);
    else
      LUNAR_ERROR(kMap, "pool ids that we know find no place: {}", valid.error().message);
    log_unknown_pools(*newest, map);
  }
  keeper_.keep(std::move(map));
}

void MapService::on_booted(objecter::Epoch epoch) {
  LUNAR_LOG(kMap, 1, "osd.{} is up in map epoch {}", options_.identity.osd, epoch);
  booted_epoch_ = epoch;
  ready_if_up();
}

void MapService::ready_if_up() {
  if (is_ready_ || is_refused_ || !map_ || addresses_.empty()) return;
  if (!is_up_as_we_are()) return;
  if (link_ && !link_->is_booted()) return;
  is_ready_ = true;
  host_.on_ready();
}

void MapService::on_refused(OsdErrc error, std::string sentence) {
  // The authority has held this very start dead, and we have missed the map that says so.
  if (error == OsdErrc::kFenced && !fencing_.client().empty()) return host_.on_set_aside(sentence);
  if (std::exchange(is_refused_, true)) return;
  host_.on_refused({make_error_code(error), std::move(sentence)});
}

void MapService::want_newer() {
  if (link_) link_->want_map();
}

// --- messages ---

void MapService::subscribe(msgr::Connection& connection, ConstBytes front) {
  const auto wanted = objecter::decode_map_subscribe(front);
  if (!wanted) return;
  watched_.on_heartbeat(connection);
  const auto sender = osd_named(connection.peer().entity);
  if (authority_ && sender && wanted->epoch > epoch() &&
      pace_.take(connection.peer().entity, center_.now()))
    authority_->on_known_epoch(*sender, wanted->epoch);
  subscribers_.subscribe(connection, wanted->epoch, map_);
}

void MapService::command(std::string text, UniqueFunction<void(objecter::CommandReply)> done) {
  const std::string prefix = command_prefix(text);
  const MapCommandKind kind = kind_of_map_command(prefix);
  const bool shows = kind == MapCommandKind::kShows || kind == MapCommandKind::kReads;
  // What only shows the map does not wait for a change that is being made.
  if (authority_ && prefix == "status")
    return done(with_unfenced(run_map_command(*map_, text).reply));
  if (authority_ && shows) return done(run_map_command(*map_, text).reply);
  if (authority_) return authority_->command(std::move(text), std::move(done));
  // As of when the authority was heard last. One that has not been heard since this start would
  // show what was there before it, which is all that is left if the authority is lost.
  if (map_ && shows && (may_serve() || may_be_old(text)))
    return done(run_map_command(*map_, text).reply);
  const OsdId us = options_.identity.osd;
  std::string why;
  if (!map_)
    why = fmt::format("osd.{} has no map yet; it looks for the cluster at mon_host", us);
  else if (!shows)
    why =
        fmt::format("osd.{} does not change the map; the authority is osd.{}", us, map_->authority);
  else if (is_refused_)
    why = fmt::format(
        "osd.{} serves no more, and its map may be an old one; ask osd.{}, the "
        "authority, or another server",
        us, map_->authority);
  else
    why = fmt::format(
        "osd.{} does not serve yet, and its map may be an old one; ask osd.{}, the "
        "authority, or another server",
        us, map_->authority);
  done({OsdErrc::kStaleMap, 0, std::move(why)});
}

// The map tells nothing of these.
objecter::CommandReply MapService::with_unfenced(objecter::CommandReply status) const {
  auto json = parse_json_or_null<nlohmann::ordered_json>(status.text, objecter::kAnswerBounds);
  for (const auto& [osd, why] : unfenced_)
    json["unfenced_osds"].push_back({{"osd", osd}, {"why", why}});
  status.text = json.dump(2);
  return status;
}

// It is gone. While it cannot be fenced it may write, so nobody else may: it stays up in the map.
void MapService::on_down(OsdId osd) {
  authority_->osd_is_down(osd, [this, osd](const Outcome<void>& down) {
    unfenced_.erase(osd);
    if (down || watched_.is_live(osd)) return;
    unfenced_[osd] = down.error().message;
    watched_.hold_down_again(osd);
  });
}

Outcome<void> MapService::may_boot(const msgr::Connection& connection,
                                   const objecter::OsdBoot& boot) const {
  if (!authority_)
    return failure(OsdErrc::kStaleMap,
                   fmt::format("osd.{} is not the map authority", options_.identity.osd));
  if (is_stopping_) return failure(OsdErrc::kShutdown, "the map authority is shutting down");
  if (boot.osd == options_.identity.osd)
    return failure(OsdErrc::kExists, fmt::format("osd.{} is the map authority itself, and up; a "
                                                 "second server has its id",
                                                 boot.osd));
  const std::string entity = fmt::format("osd.{}", boot.osd);
  if (options_.auth_required && connection.peer().entity != entity)
    return failure(OsdErrc::kNotPermitted,
                   fmt::format("{} is not permitted to boot as {}: give it that key",
                               connection.peer().entity, entity));
  return may_replace(boot);
}

// A copy of its store must not push it out while it lives, or may live: what listens at the same
// address has come after it. What boot_osd() refuses is refused when its turn has come.
Outcome<void> MapService::may_replace(const objecter::OsdBoot& boot) const {
  const objecter::OsdInfo* known = map_->find_osd(boot.osd);
  // One start of a server has the same addresses all the time.
  const bool is_other_start =
      known != nullptr && known->up &&
      (known->incarnation != boot.incarnation || known->addresses != boot.addresses);
  if (!is_other_start || boot_osd(*map_, boot).reply.error != OsdErrc::kOk) return {};
  const std::string there = known->addresses.front().to_string();
  if (watched_.is_live(boot.osd))
    return failure(OsdErrc::kBusy,
                   fmt::format("osd.{} runs already, at {}; it has to end first", boot.osd, there));
  if (known->addresses != boot.addresses && watched_.is_awaited(boot.osd))
    return failure(OsdErrc::kBusy,
                   fmt::format("osd.{} was at {} a moment ago, and may be there still; this start "
                               "of it is let in when it has been gone for {}",
                               boot.osd, there,
                               known->kind == objecter::StoreKind::kRados ? "osd_heartbeat_grace"
                                                                          : "osd_session_grace"));
  return {};
}

// Each change is written and sent to everybody, so that one server's without end would be in the
// way of all others. Asked when its turn has come: another boot of it may have been before.
Outcome<void> MapService::may_change_map(const objecter::OsdBoot& boot) {
  if (auto allowed = may_replace(boot); !allowed) return allowed;
  const std::string entity = fmt::format("osd.{}", boot.osd);
  if (pace_.take(entity, center_.now())) return {};
  return failure(OsdErrc::kBusy,
                 fmt::format("{} has changed the map {} times in short: it may once in {} s now; "
                             "does it start again and again, or is its key in two places?",
                             entity, BootPace::kBurst, BootPace::kInterval.count()));
}

void MapService::boot(msgr::Connection& connection, ConstBytes front) {
  auto boot = objecter::decode_osd_boot(front);
  if (!boot) return connection.close();
  const auto reply_to = [](msgr::Connection& peer, const objecter::OsdBootReply& reply) {
    std::vector<std::byte> out;
    objecter::encode(reply, out);
    send_front(peer, MessageType::kOsdBootReply, std::move(out));
  };
  const auto allowed = may_boot(connection, *boot);
  if (!allowed) {
    const auto code = static_cast<OsdErrc>(allowed.error().code.value());
    return reply_to(connection, {code, 0, allowed.error().message});
  }
  const OsdId osd = boot->osd;
  const bool sends_heartbeats = boot->kind == objecter::StoreKind::kRados;
  watched_.add_boot(connection);
  authority_->boot(
      std::move(*boot), [this](const objecter::OsdBoot& asked) { return may_change_map(asked); },
      [this, osd, sends_heartbeats, reply_to,
       peer = connection.shared_from_this()](objecter::OsdBootReply reply) {
        if (reply.error != OsdErrc::kOk) LUNAR_LOG_LIMITED(kMap, 0, "refused: {}", reply.message);
        const bool is_here = watched_.take_boot(*peer);
        if (reply.error == OsdErrc::kOk) {
          unfenced_.erase(osd);
          watched_.on_booted(osd, is_here ? peer.get() : nullptr, sends_heartbeats);
        }
        if (is_here) reply_to(*peer, reply);
      });
}

void MapService::on_closed(msgr::Connection& connection, std::error_code why) {
  subscribers_.on_closed(connection);
  watched_.on_closed(connection, why);
}

}  // namespace lunar::osd
