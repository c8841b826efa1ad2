// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/server/osd_server.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "objecter/protocol/osd_op.h"

// The life of the server and of its connections. Ops are in osd_server_ops.cc, commands in
// osd_server_commands.cc.

namespace lunar::osd {

using objecter::MessageType;

namespace {
constexpr std::chrono::seconds kTick{1};

OpTracker::Options tracker_options(const OsdServerOptions& options) {
  return {options.history_size, options.history_duration, options.complaint_time};
}
}  // namespace

OsdServer::OsdServer(msgr::EventCenter& center, ObjectStore& store, OsdServerOptions options,
                     PerfRegistry& perf)
    : center_(center),
      store_(store),
      options_(std::move(options)),
      perf_(perf),
      incarnation_(random_u64() | 1),
      tracker_(perf, tracker_options(options_)),
      one_sided_(perf),
      purger_(store, [this](const ObjectId& id, InlineFunction<void()> done) {
        purge_object(id, std::move(done));
      }) {}

OsdServer::~OsdServer() {
  center_.cancel(tick_);
  admin_commands_.clear();
}

Outcome<std::unique_ptr<OsdServer>> OsdServer::create(msgr::EventCenter& center, ObjectStore& store,
                                                      OsdServerOptions options,
                                                      PerfRegistry& perf) {
  std::unique_ptr<OsdServer> server(new OsdServer(center, store, std::move(options), perf));
  if (const auto loaded = server->load(); !loaded) return tl::unexpected<Error>(loaded.error());
  return server;
}

Outcome<void> OsdServer::load() {
  auto versions = ObjectVersions::load(store_, incarnation_);
  if (!versions) return tl::unexpected<Error>(versions.error());
  versions_ = std::move(*versions);
  auto fences = FenceTable::load(store_);
  if (!fences) return tl::unexpected<Error>(fences.error());
  fences_ = std::move(*fences);
  auto map = load_map(store_);
  const StoreIdentity& identity = store_.identity();
  if (!map && map.error().code != OsdErrc::kNoSuchObject) return tl::unexpected<Error>(map.error());
  if (map && (*map)->fsid != identity.fsid) {
    return failure(OsdErrc::kCorrupt, "the map in the store is of cluster " +
                                          (*map)->fsid.to_string() + ", the store of cluster " +
                                          identity.fsid.to_string());
  }
  MapService::Options service;
  service.identity = identity;
  service.incarnation = incarnation_;
  service.bootstrap = options_.bootstrap;
  service.grace = options_.grace;
  service.retry_interval = options_.retry_interval;
  service.auth_required = options_.auth_required;
  maps_ = std::make_unique<MapService>(center_, store_, static_cast<MapService::Host&>(*this),
                                       map ? *map : nullptr, service);
  if (!map && options_.bootstrap.empty()) {
    return failure(std::errc::invalid_argument,
                   "the store has no cluster map yet and mon_host names nobody to get it from; set "
                   "mon_host, or make a new cluster with lunar-osd --mkfs --mkmap");
  }
  sessions_ = std::make_unique<ClientSessions>(static_cast<SessionHost&>(*this), *fences_,
                                               options_.sessions);
  return {};
}

void OsdServer::start(msgr::NetworkStack& stack, msgr::MessengerOptions messenger,
                      const Keyring* keyring, Listen listen_on,
                      InlineFunction<void(Outcome<msgr::Address>)> ready) {
  struct Starting {
    msgr::NetworkStack& stack;
    msgr::MessengerOptions messenger;
    const Keyring* keyring;
    Listen listen;
  };
  ready_ = std::move(ready);
  auto starting = std::make_unique<Starting>(
      Starting{stack, std::move(messenger), keyring, std::move(listen_on)});
  UnflushedLedger::load(
      center_, store_, store_, incarnation_,
      [this, starting = std::move(starting)](Outcome<std::unique_ptr<UnflushedLedger>> ledger) {
        if (!ledger) return fail_start(ledger.error());
        ledger_ = std::move(*ledger);
        executor_ = std::make_unique<OpExecutor>(
            OpEnvironment{center_, store_, *versions_, *ledger_, options_.limits, one_sided_},
            [this](ClientOpRef op, OpResultRef result) {
              op_ended(std::move(op), std::move(result));
            });
        listen(starting->stack, std::move(starting->messenger), starting->keyring,
               starting->listen);
      });
}

void OsdServer::listen(msgr::NetworkStack& stack, msgr::MessengerOptions options,
                       const Keyring* keyring, const Listen& listen) {
  auto messenger = msgr::Messenger::create(center_, stack, std::move(options), keyring, &perf_,
                                           static_cast<msgr::Dispatcher*>(this));
  if (!messenger) return fail_start(messenger.error());
  messenger_ = std::move(*messenger);
  Outcome<msgr::Address> bound = failure(std::errc::invalid_argument, "no address to listen on");
  for (const msgr::Address& address : listen.addresses) {
    bound = messenger_->bind(address, msgr::Policy::kStatefulServer);
    if (bound || bound.error().code != std::errc::address_in_use) break;
  }
  if (!bound) return fail_start(bound.error());
  address_ = *bound;
  if (address_.is_wildcard()) {
    address_ = listen.outside;
    address_.set_port(bound->port());
  }
  LUNAR_LOG(kOsd, 1, "osd.{} listens on {}", store_.identity().osd, bound->to_string());
  tick();
  maps_->start(*messenger_, {address_});
}

void OsdServer::fail_start(Error error) {
  if (ready_) std::exchange(ready_, {})(tl::unexpected<Error>(std::move(error)));
}

void OsdServer::tick() {
  const auto now = std::chrono::steady_clock::now();
  sessions_->expire(now);
  tracker_.complain(now);
  tick_ = center_.run_after(kTick, [this] { tick(); });
}

void OsdServer::on_ready() {
  if (ready_) std::exchange(ready_, {})(address_);
}

void OsdServer::on_refused(const Error& error) {
  if (ready_) return fail_start(error);
  if (on_refused_) on_refused_(error);
}

void OsdServer::on_map(const objecter::OsdMapRef& map) {
  if (!stopping_) purger_.on_map(map);
  std::deque<Waiting> waiting = std::exchange(waiting_maps_, {});
  for (Waiting& each : waiting) {
    if (each.epoch > map->epoch)
      waiting_maps_.push_back(std::move(each));
    else
      admit(*each.connection, std::move(each.op));
  }
}

// --- connections ---

void OsdServer::on_open(msgr::Connection& connection) {
  if (AuthorityLink* link = maps_->link(); link != nullptr && link->owns(connection))
    return link->on_open(connection);
  Peer& peer = peers_[&connection];
  const bool remembers = sessions_->remembers(connection.peer());
  peer.session = sessions_->open(connection);
  send_hello(connection, remembers);
}

void OsdServer::send_hello(msgr::Connection& connection, bool remembers) {
  objecter::ServerHello hello;
  hello.fsid = store_.identity().fsid;
  hello.osd = store_.identity().osd;
  hello.incarnation = incarnation_;
  hello.verifier = ledger_->verifier();
  hello.epoch = maps_->epoch();
  hello.remembers_client = remembers;
  std::vector<std::byte> front;
  objecter::encode(hello, front);
  send_front(connection, MessageType::kServerHello, std::move(front));
}

void OsdServer::on_message(msgr::Connection& connection, msgr::InMessage message) {
  if (AuthorityLink* link = maps_->link(); link != nullptr && link->owns(connection))
    return link->on_message(connection, message);
  switch (static_cast<MessageType>(message.meta.type)) {
    case MessageType::kOsdOp:
      return on_op(connection, std::move(message));
    case MessageType::kCancel:
      return on_cancel(connection, message.front);
    case MessageType::kMapSubscribe:
      return maps_->subscribe(connection, message.front);
    case MessageType::kOsdBoot:
      return maps_->boot(connection, message.front);
    case MessageType::kCommand:
      return on_command(connection, message);
    default:
      LUNAR_LOG(kOsd, 1, "{} sent a message of unknown type {}; it is ignored",
                connection.peer().entity, message.meta.type);
  }
}

void OsdServer::on_link(msgr::Connection& connection, bool up) { maps_->on_link(connection, up); }

void OsdServer::on_reset(msgr::Connection& connection, std::error_code why) {
  if (AuthorityLink* link = maps_->link(); link != nullptr && link->owns(connection))
    return link->on_reset(connection, why);
  maps_->on_closed(connection, why);
  std::erase_if(waiting_maps_, [&](const Waiting& each) { return each.connection == &connection; });
  const auto peer = peers_.find(&connection);
  if (peer == peers_.end()) return;
  sessions_->close(connection, peer->second.session, std::chrono::steady_clock::now());
  peers_.erase(peer);
}

// --- the end ---

void OsdServer::shutdown(InlineFunction<void()> done) {
  LUNAR_CHECK(!stopping_, "a server is shut down twice");
  stopping_ = true;
  stopped_ = std::move(done);
  center_.cancel(std::exchange(tick_, msgr::TimerId::kNone));
  ready_.reset();
  for (const ClientOpRef& op : std::exchange(waiting_, {}))
    sessions_->finished(op, make_error_result(*op, OsdErrc::kShutdown));
  if (!messenger_) {
    if (!ledger_) return center_.post([this] { stopped_(); });
    return ledger_->shutdown([this] { stopped_(); });
  }
  maps_->stop([this] { purger_.stop([this] { executor_->drain([this] { close_down(); }); }); });
}

// Nothing executes any more.
void OsdServer::close_down() {
  fences_->settle(
      [this] { ledger_->shutdown([this] { messenger_->shutdown([this] { stopped_(); }); }); });
}

}  // namespace lunar::osd
