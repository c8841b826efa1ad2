// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_service.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "common/log_limited.h"
#include "msgr/errors.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::osd {

using objecter::MessageType;
using objecter::OsdMap;
using objecter::OsdMapRef;

void send_front(msgr::Connection& connection, MessageType type, std::vector<std::byte> front,
                uint64_t tid) {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  meta.tid = tid;
  connection.send(std::make_unique<msgr::SimpleMessage>(meta, std::move(front)));
}

MapService::MapService(msgr::EventCenter& center, ServerRecords& records, AccessControl& access,
                       MapServiceHost& host, OsdMapRef map, Options options)
    : center_(center),
      records_(records),
      access_(access),
      host_(host),
      options_(std::move(options)),
      map_(std::move(map)) {
  if (map_ && map_->authority == options_.identity.osd) {
    authority_ = std::make_unique<MapAuthority>(
        records_, map_, [this](OsdMapRef changed) { publish(std::move(changed)); });
  }
}

MapService::~MapService() {
  for (auto& [osd, server] : watched_) center_.cancel(server.timer);
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
  return boot;
}

void MapService::start(msgr::Messenger& messenger, std::vector<msgr::Address> addresses) {
  addresses_ = std::move(addresses);
  if (!authority_) {
    link_ = std::make_unique<AuthorityLink>(center_, messenger, static_cast<BootingServer&>(*this),
                                            options_.bootstrap, options_.retry_interval);
    return link_->start();
  }
  // Whoever was up has to come back in time.
  for (const objecter::OsdInfo& osd : map_->osds)
    if (osd.up && osd.id != options_.identity.osd) start_grace(osd.id);
  authority_->boot(make_boot(), [this](objecter::OsdBootReply reply) {
    if (reply.error == OsdErrc::kOk) return on_booted(reply.epoch);
    on_refused(reply.error, std::move(reply.message));
  });
}

void MapService::stop(UniqueFunction<void()> done) {
  is_stopping_ = true;
  stopped_ = std::move(done);
  for (auto& [osd, server] : watched_) center_.cancel(std::exchange(server.timer, {}));
  if (link_) link_->stop();  // an orderly end, by which the authority knows
  if (authority_ && !is_refused_) authority_->osd_is_down(options_.identity.osd);
  const auto finished = [this] { center_.post([this] { std::exchange(stopped_, {})(); }); };
  if (authority_ && authority_->is_busy())
    authority_->drain(finished);
  else if (!saving_)
    finished();  // else at the end of save_next()
}

// --- maps ---

void MapService::publish(OsdMapRef map) {
  map_ = std::move(map);
  LUNAR_LOG(kMap, 1, "map epoch {}", map_->epoch);
  for (auto& [id, subscriber] : subscribers_) send_map(subscriber);
  if (std::string why = why_replaced(); !why.empty())
    return on_refused(OsdErrc::kExists, std::move(why));
  host_.on_map(map_);
  ready_if_up();
  // Somebody marked us down although we are not: `osd down`, or a grace that ended too early.
  const objecter::OsdInfo* us = map_->find_osd(options_.identity.osd);
  const bool wrong = us == nullptr || !us->up || us->addresses != addresses_ ||
                     us->incarnation != options_.incarnation;
  if (!wrong || is_stopping_ || !may_serve()) return;
  if (link_ && link_->is_booted()) link_->boot_again();
  if (authority_ && us != nullptr)
    authority_->boot(make_boot(), [](const objecter::OsdBootReply&) {});
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
  const OsdMapRef newest = next_ ? next_ : saving_ ? saving_ : map_;
  if (newest && map.epoch <= newest->epoch) return;
  next_ = std::make_shared<const OsdMap>(std::move(map));
  if (!saving_) save_next();
}

void MapService::save_next() {
  saving_ = std::exchange(next_, nullptr);
  std::vector<std::byte> record;
  objecter::encode(*saving_, record);
  records_.put_record(kMapRecord, std::move(record), [this](std::error_code error) {
    const OsdMapRef saved = std::exchange(saving_, nullptr);
    if (error) {
      // It can still be served: the cluster has it, and we ask for it again after a restart.
      LUNAR_ERROR(kMap, "map epoch {} cannot be written: {}", saved->epoch, error.message());
    }
    publish(saved);
    if (next_)
      save_next();
    else if (stopped_ && is_stopping_)
      std::exchange(stopped_, {})();
  });
}

void MapService::on_booted(objecter::Epoch epoch) {
  LUNAR_LOG(kMap, 1, "osd.{} is up in map epoch {}", options_.identity.osd, epoch);
  ready_if_up();
}

void MapService::ready_if_up() {
  if (is_ready_ || is_refused_ || !map_ || addresses_.empty()) return;
  const objecter::OsdInfo* us = map_->find_osd(options_.identity.osd);
  if (us == nullptr || !us->up || us->addresses != addresses_ ||
      us->incarnation != options_.incarnation)
    return;
  if (link_ && !link_->is_booted()) return;
  is_ready_ = true;
  host_.on_ready();
}

void MapService::on_refused(OsdErrc error, std::string sentence) {
  if (std::exchange(is_refused_, true)) return;
  host_.on_refused({make_error_code(error), std::move(sentence)});
}

void MapService::want_newer() {
  if (link_) link_->want_map();
}

// --- messages ---

// Each once on a session, which loses none: asking again costs a client as much as us.
void MapService::send_map(MapSubscriber& to) {
  std::vector<std::byte> front;
  objecter::encode(*visible_map(map_, access_.permissions_of(to.connection->peer(), map_)), front);
  to.sent = map_->epoch;
  send_front(*to.connection, MessageType::kMap, std::move(front));
}

void MapService::subscribe(msgr::Connection& connection, ConstBytes front) {
  const auto wanted = objecter::decode_map_subscribe(front);
  if (!wanted) return;
  MapSubscriber& subscriber = subscribers_[connection.id()];
  subscriber.connection = connection.shared_from_this();
  if (map_ && map_->epoch > std::max(wanted->epoch, subscriber.sent)) return send_map(subscriber);
  std::vector<std::byte> current;
  objecter::encode(objecter::MapSubscribe{epoch()}, current);
  send_front(connection, MessageType::kMapCurrent, std::move(current));
}

void MapService::command(std::string text, UniqueFunction<void(objecter::CommandReply)> done) {
  if (authority_) return authority_->command(std::move(text), std::move(done));
  // Whoever asks another server wants to know what the cluster was when the authority was heard.
  if (map_ && kind_of_map_command(command_prefix(text)) != MapCommandKind::kChanges)
    return done(run_map_command(*map_, text).reply);
  done({OsdErrc::kStaleMap, 0,
        map_ ? fmt::format("osd.{} does not change the map; the authority is osd.{}",
                           options_.identity.osd, map_->authority)
             : fmt::format("osd.{} has no map yet; it looks for the cluster at mon_host",
                           options_.identity.osd)});
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
  // A copy of its store must not push it out while it lives. What boot_osd() refuses is refused
  // when its turn has come.
  const objecter::OsdInfo* known = map_->find_osd(boot.osd);
  if (known != nullptr && known->up && known->incarnation != boot.incarnation &&
      is_live(boot.osd) && boot_osd(*map_, boot).reply.error == OsdErrc::kOk)
    return failure(OsdErrc::kBusy, fmt::format("osd.{} runs already, at {}; it has to end first",
                                               boot.osd, known->addresses.front().to_string()));
  return {};
}

void MapService::boot(msgr::Connection& connection, ConstBytes front) {
  auto boot = objecter::decode_osd_boot(front);
  if (!boot) return connection.close();
  const auto reply_to = [](msgr::Connection& peer, const objecter::OsdBootReply& reply) {
    std::vector<std::byte> out;
    objecter::encode(reply, out);
    send_front(peer, MessageType::kOsdBootReply, std::move(out));
  };
  if (const auto allowed = may_boot(connection, *boot); !allowed) {
    const auto code = static_cast<OsdErrc>(allowed.error().code.value());
    return reply_to(connection, {code, 0, allowed.error().message});
  }
  const OsdId osd = boot->osd;
  booting_.insert(connection.id());
  authority_->boot(std::move(*boot), [this, osd, reply_to, peer = connection.shared_from_this()](
                                         objecter::OsdBootReply reply) {
    if (reply.error != OsdErrc::kOk) LUNAR_LOG_LIMITED(kMap, 0, "refused: {}", reply.message);
    const auto waits = booting_.find(peer->id());
    const bool gone = waits == booting_.end();
    if (!gone) booting_.erase(waits);
    if (reply.error == OsdErrc::kOk) {
      watched_[osd].connection = gone ? 0 : peer->id();
      if (gone)
        start_grace(osd);
      else
        stop_grace(osd);
    }
    if (gone) return;
    reply_to(*peer, reply);
  });
}

// --- who is up ---

bool MapService::is_live(OsdId osd) const {
  const auto server = watched_.find(osd);
  return server != watched_.end() && server->second.connection != 0 &&
         server->second.timer == msgr::TimerId::kNone;
}

void MapService::on_link(msgr::Connection& connection, bool up) {
  for (auto& [osd, server] : watched_) {
    if (server.connection != connection.id()) continue;
    if (up)
      stop_grace(osd);
    else
      start_grace(osd);
  }
}

void MapService::on_closed(msgr::Connection& connection, std::error_code why) {
  subscribers_.erase(connection.id());
  booting_.erase(connection.id());
  for (auto& [osd, server] : watched_) {
    if (server.connection != connection.id()) continue;
    server.connection = 0;
    if (is_stopping_) continue;
    if (why == make_error_code(msgr::MsgrErrc::kClosedByPeer)) {
      stop_grace(osd);
      authority_->osd_is_down(osd);
    } else {
      start_grace(osd);
    }
  }
}

void MapService::start_grace(OsdId osd) {
  WatchedOsd& server = watched_[osd];
  if (is_stopping_ || server.timer != msgr::TimerId::kNone) return;
  server.timer = center_.run_after(
      std::chrono::duration_cast<msgr::EventCenter::Clock::duration>(options_.grace), [this, osd] {
        watched_[osd].timer = msgr::TimerId::kNone;
        LUNAR_LOG(kMap, 0, "osd.{} has had no session with the authority for too long", osd);
        authority_->osd_is_down(osd);
      });
}

void MapService::stop_grace(OsdId osd) {
  center_.cancel(std::exchange(watched_[osd].timer, msgr::TimerId::kNone));
}

}  // namespace lunar::osd
