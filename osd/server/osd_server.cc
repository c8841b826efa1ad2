// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/server/osd_server.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <utility>

#include "common/log_limited.h"

// Start and shutdown are coroutines. Both use `this`: the owner destroys a server only after they
// have ended, and shutdown() ends a start that is under way.

namespace lunar::osd {

using objecter::MessageType;

namespace {
constexpr std::chrono::seconds kTick{1};
}  // namespace

struct OsdServer::StartArguments {
  msgr::NetworkStack& stack;
  msgr::MessengerOptions messenger;
  const Keyring* keyring;
  Listen listen;
};

OsdServer::OsdServer(msgr::EventCenter& center, ObjectStore& store, OsdServerOptions options,
                     PerfRegistry& perf)
    : center_(center), store_(store), options_(std::move(options)), perf_(perf) {}

OsdServer::~OsdServer() {
  store_.set_on_fenced({});
  center_.cancel(tick_);
}

Outcome<std::unique_ptr<OsdServer>> OsdServer::create(msgr::EventCenter& center, ObjectStore& store,
                                                      OsdServerOptions options,
                                                      PerfRegistry& perf) {
  std::unique_ptr<OsdServer> server(new OsdServer(center, store, std::move(options), perf));
  if (const auto loaded = server->load(); !loaded) return failure(loaded.error());
  return server;
}

Outcome<void> OsdServer::load() {
  const StoreIdentity& identity = store_.identity();
  auto map = load_map(store_);
  if (!map && map.error().code != OsdErrc::kNoSuchObject) return failure(map.error());
  if (map && (*map)->fsid != identity.fsid)
    return failure(OsdErrc::kCorrupt, "the map in the store is of cluster " +
                                          (*map)->fsid.to_string() + ", the store of cluster " +
                                          identity.fsid.to_string());
  if (!map && options_.bootstrap.empty())
    return failure(std::errc::invalid_argument,
                   "the store has no cluster map and nobody to ask for one: set mon_host, or make "
                   "a new cluster with lunar-osd --mkfs --mkmap");
  auto starts = StoreStarts::load(store_, identity, map ? *map : nullptr);
  if (!starts) return failure(starts.error());
  starts_ = std::move(*starts);
  auto versions = ObjectVersions::load(store_, incarnation());
  if (!versions) return failure(versions.error());
  versions_ = std::move(*versions);
  auto fences = FenceTable::load(store_);
  if (!fences) return failure(fences.error());
  fences_ = std::move(*fences);
  access_ = std::make_unique<AccessControl>(
      AccessControl::Options{options_.auth_required, options_.admins});
  MapService::Options service;
  service.identity = identity;
  service.incarnation = starts_->incarnation();
  service.previous = starts_->previous();
  service.bootstrap = options_.bootstrap;
  service.authority = options_.authority;
  service.graces = {options_.grace, options_.heartbeat_grace};
  service.pace = {options_.retry_interval, options_.heartbeat_interval};
  service.auth_required = options_.auth_required;
  maps_ = std::make_unique<MapService>(center_, store_, store_, *access_,
                                       static_cast<MapServiceHost&>(*this), map ? *map : nullptr,
                                       service);
  ops_ = std::make_unique<OpService>(OpService::OpDependencies{
      center_, identity, OpStore{store_, store_, store_, store_.buffers(), store_.vectors()},
      store_, options_, *versions_, *fences_, *access_, *maps_, perf_});
  commands_ = std::make_unique<CommandService>(CommandService::CommandDependencies{
      center_, store_, store_, options_, *fences_, *access_, *maps_, *ops_});
  store_.set_on_fenced([this] { on_set_aside("Ceph has its RADOS client on the blocklist"); });
  purger_ =
      std::make_unique<PoolPurger>(store_, [this](const ObjectId& id, UniqueFunction<void()> done) {
        ops_->remove_object(id, std::move(done));
      });
  return {};
}

// --- the start ---

void OsdServer::start(msgr::NetworkStack& stack, msgr::MessengerOptions messenger,
                      const Keyring* keyring, Listen listen,
                      UniqueFunction<void(Outcome<msgr::Address>)> ready) {
  run_start(std::make_unique<StartArguments>(
                StartArguments{stack, std::move(messenger), keyring, std::move(listen)}),
            std::move(ready));
}

Detached OsdServer::run_start(std::unique_ptr<StartArguments> arguments,
                              UniqueFunction<void(Outcome<msgr::Address>)> ready) {
  is_starting_ = true;
  Outcome<msgr::Address> address = co_await bring_up(std::move(arguments));
  is_starting_ = false;
  UniqueFunction<void()> on_ended = std::move(on_start_ended_);
  ready(std::move(address));
  if (on_ended) on_ended();  // only then may `this` be gone
}

Task<Outcome<msgr::Address>> OsdServer::bring_up(std::unique_ptr<StartArguments> arguments) {
  msgr::Completion<std::error_code> recorded;
  starts_->record(recorded.callback());
  const std::error_code unrecorded = co_await recorded;
  if (unrecorded)
    co_return failure(
        wire_error(unrecorded),
        "the start of the server cannot be recorded in its store: " + unrecorded.message());
  msgr::Completion<Outcome<std::unique_ptr<UnflushedLedger>>> loaded;
  UnflushedLedger::load(center_, store_, store_, incarnation(), loaded.callback());
  Outcome<std::unique_ptr<UnflushedLedger>> ledger = co_await loaded;
  if (!ledger) co_return failure(ledger.error());
  ledger_ = std::move(*ledger);
  ops_->start(*ledger_);
  commands_->start(*ledger_);
  if (is_stopping_) co_return failure(OsdErrc::kShutdown, "the server is shutting down");

  Outcome<msgr::Address> address = listen(*arguments);
  if (!address) co_return failure(address.error());
  tick();
  maps_->start(*messenger_, {*address});

  Result<Outcome<void>> answer = co_await accepted_.next();
  if (!answer) co_return failure(OsdErrc::kShutdown, "the server is shutting down");
  if (!*answer) co_return failure(answer->error());
  co_return address;
}

// Of a range of ports that of its last start is tried first: a start at another address waits for
// the grace, as it may be of a copy of the store.
void OsdServer::prefer_last_port(std::vector<msgr::Address>& candidates) const {
  const objecter::OsdMapRef& map = maps_->map();
  const objecter::OsdInfo* last = map == nullptr ? nullptr : map->find_osd(store_.identity().osd);
  if (last == nullptr || last->addresses.empty()) return;
  const auto at = std::find_if(
      candidates.begin(), candidates.end(),
      [port = last->addresses.front().port()](const auto& each) { return each.port() == port; });
  if (at != candidates.end()) std::rotate(candidates.begin(), at, at + 1);
}

// The address that others have to use.
Outcome<msgr::Address> OsdServer::listen(StartArguments& arguments) {
  auto messenger =
      msgr::Messenger::create(center_, arguments.stack, std::move(arguments.messenger),
                              arguments.keyring, &perf_, static_cast<msgr::Dispatcher*>(this));
  if (!messenger) return failure(messenger.error());
  messenger_ = std::move(*messenger);
  keyring_ = arguments.keyring;
  if (keyring_ != nullptr) entities_ = keyring_->names();
  prefer_last_port(arguments.listen.addresses);
  Outcome<msgr::Address> bound = failure(std::errc::invalid_argument, "no address to listen on");
  for (const msgr::Address& address : arguments.listen.addresses) {
    bound = messenger_->bind(address, msgr::Policy::kStatefulServer);
    if (bound || bound.error().code != std::errc::address_in_use) break;
  }
  if (!bound) return bound;
  LUNAR_LOG(kOsd, 1, "osd.{} listens on {}", store_.identity().osd, bound->to_string());
  if (!bound->is_wildcard()) return bound;
  msgr::Address outside = arguments.listen.outside;
  outside.set_port(bound->port());
  return outside;
}

void OsdServer::on_ready() {
  ops_->on_serving();
  accepted_.push({});
}

void OsdServer::on_refused(const Error& error) {
  if (is_starting_)
    accepted_.push(failure(error));
  else if (on_refused_ && !is_stopping_)
    on_refused_(error);
}

// What ends with an error from now on may have been carried out, or not: its clients hear nothing,
// and act on the map.
void OsdServer::on_set_aside(const std::string& why) {
  ops_->fall_silent();
  if (on_set_aside_ && !is_stopping_) on_set_aside_(why);
}

void OsdServer::tick() {
  ops_->tick();
  tick_ = center_.run_after(kTick, [this] { tick(); });
}

// --- the end ---

void OsdServer::shutdown(UniqueFunction<void()> done) {
  LUNAR_CHECK(!is_stopping_, "a server is shut down twice");
  is_stopping_ = true;
  run_shutdown(std::move(done));
}

Detached OsdServer::run_shutdown(UniqueFunction<void()> done) {
  center_.cancel(std::exchange(tick_, msgr::TimerId::kNone));
  ops_->stop();
  msgr::Completion<void> turn;
  center_.post(turn.callback());  // neither `ready` nor `done` runs inside shutdown()
  co_await turn;
  if (is_starting_) {
    msgr::Completion<void> started;
    on_start_ended_ = started.callback();
    accepted_.close();
    co_await started;
  }

  // Of one in RADOS the PGs move, and the client is fenced, when the cluster is told: before that
  // everything has to be through.
  const bool is_told_last = !store_.client().empty();
  if (!is_told_last) {
    msgr::Completion<void> told;
    tell_cluster(told.callback());
    co_await told;
  }
  msgr::Completion<void> purged;
  purger_->stop(purged.callback());
  co_await purged;
  if (commands_) commands_->stop();
  msgr::Completion<void> drained;
  ops_->drain(drained.callback());
  co_await drained;
  if (is_told_last) {
    msgr::Completion<void> told;
    tell_cluster(told.callback());
    co_await told;
  }
  msgr::Completion<void> recorded;
  fences_->drain(recorded.callback());
  co_await recorded;
  if (ledger_) {
    msgr::Completion<void> flushed;
    ledger_->shutdown(flushed.callback());
    co_await flushed;
  }
  if (messenger_) {
    msgr::Completion<void> closed;
    messenger_->shutdown(closed.callback());
    co_await closed;
  }
  done();  // it may destroy this
}

void OsdServer::tell_cluster(UniqueFunction<void()> done) {
  if (messenger_) return maps_->stop(std::move(done));
  done();
}

// --- connections ---

void OsdServer::on_keys_changed() {
  if (messenger_ == nullptr || keyring_ == nullptr) return;
  messenger_->on_keys_changed();
  // Who has no session at this moment may still have ops here.
  std::set<EntityName> names = keyring_->names();
  std::vector<EntityName> gone;
  std::set_difference(entities_.begin(), entities_.end(), names.begin(), names.end(),
                      std::back_inserter(gone));
  entities_ = std::move(names);
  for (const EntityName& name : gone) {
    const std::string entity = name.to_string();
    ops_->revoke(entity, [entity] {
      LUNAR_LOG(kOsd, 0, "nothing of what {} has sent is carried out any more", entity);
    });
  }
}

AuthorityLink* OsdServer::authority_of(const msgr::Connection& connection) noexcept {
  AuthorityLink* const link = maps_->link();
  return link != nullptr && link->owns(connection) ? link : nullptr;
}

void OsdServer::on_open(msgr::Connection& connection) {
  if (AuthorityLink* const link = authority_of(connection)) return link->on_open(connection);
  ops_->on_open(connection);
}

void OsdServer::on_message(msgr::Connection& connection, msgr::InMessage message) {
  if (AuthorityLink* const link = authority_of(connection))
    return link->on_message(connection, message);
  switch (static_cast<MessageType>(message.meta.type)) {
    case MessageType::kOsdOp:
      return ops_->on_op(connection, std::move(message));
    case MessageType::kCancel:
      return ops_->on_cancel(connection, message.front);
    case MessageType::kMapSubscribe:
      return maps_->subscribe(connection, message.front);
    case MessageType::kOsdBoot:
      return maps_->boot(connection, message.front);
    case MessageType::kWatchPing:
      return ops_->on_watch_ping(connection, message.front);
    case MessageType::kCommand:
      return commands_->on_command(connection, message);
    default:
      LUNAR_LOG_LIMITED(kOsd, 1, "{} sent a message of unknown type {}; it is ignored",
                        connection.peer().entity, message.meta.type);
  }
}

void OsdServer::on_link(msgr::Connection& connection, bool up) {
  if (AuthorityLink* const link = authority_of(connection)) return link->on_link(connection, up);
  maps_->on_link(connection, up);
  ops_->on_link(connection, up);
}

void OsdServer::on_reset(msgr::Connection& connection, std::error_code why) {
  if (AuthorityLink* const link = authority_of(connection)) return link->on_reset(connection, why);
  maps_->on_closed(connection, why);
  ops_->on_reset(connection);
}

void OsdServer::on_map(const objecter::OsdMapRef& map) {
  store_.on_map(*map);
  if (!is_stopping_) purger_->on_map(map);
  ops_->on_map(map->epoch);
}

}  // namespace lunar::osd
