// SPDX-License-Identifier: LGPL-2.1-or-later
// The façade: makes the parts, and passes on what callers ask and what servers say.
#include "objecter/objecter.h"

#include <utility>

#include "common/check.h"
#include "common/log_limited.h"
#include "msgr/errors.h"
#include "objecter/cluster/mon_host.h"
#include "objecter/map/epoch_waiters.h"
#include "objecter/map/map_client.h"
#include "objecter/ops/op_replies.h"
#include "objecter/ops/op_submission.h"
#include "objecter/ops/pg_list.h"
#include "objecter/ops/pool_flush.h"
#include "objecter/ops/status_json.h"
#include "objecter/servers/osd_sessions.h"
#include "objecter/servers/server_commands.h"
#include "objecter/watch/linger_ops.h"

namespace lunar::objecter {
namespace {

// Loop-bound to its center. Owns everything below; borrows the center.
class ObjecterImpl final : public Objecter,
                           private msgr::Dispatcher,
                           private MapEvents,
                           private OpEvents,
                           private CommandServers {
 public:
  ObjecterImpl(msgr::EventCenter& center, Options options, PerfRegistry* perf,
               const msgr::MessengerOptions& messenger_options);
  ~ObjecterImpl() override;
  Outcome<void> init(msgr::NetworkStack& stack, msgr::MessengerOptions messenger_options,
                     const Keyring* keyring, PerfRegistry* perf);

  void wait_for_map(std::chrono::nanoseconds timeout,
                    UniqueFunction<void(Outcome<OsdMapRef>)> done) override;
  OsdMapRef map() const override { return maps_.map(); }
  void wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout,
                      UniqueFunction<void(std::error_code)> done) override;
  Tid submit(ObjectOp op, OpDone done) override;
  Tid flush(PoolId pool, ImageId image, uint64_t io_id, LossHearer hearer,
            UniqueFunction<void(std::error_code)> done) override;
  std::shared_ptr<ImageWrites> writes_of(ImageId image) override {
    return sessions_.writes_of(image);
  }
  void on_loss_unheard(ImageId image) override { sessions_.on_loss_unheard(image); }
  void cancel(Tid tid) override;
  Tid list(PgId pg, ListScope scope, std::string cursor, uint32_t limit,
           UniqueFunction<void(Result<std::vector<std::string>>)> done) override;
  void command(OsdId osd, std::string json, std::chrono::nanoseconds timeout,
               UniqueFunction<void(Outcome<std::string>)> done) override;
  void watch(ObjectId object, uint64_t cookie, WatchHandler& handler,
             UniqueFunction<void(std::error_code)> done) override {
    lingers_.watch(std::move(object), cookie, handler, std::move(done));
  }
  void unwatch(ObjectId object, uint64_t cookie,
               UniqueFunction<void(std::error_code)> done) override {
    lingers_.unwatch(std::move(object), cookie, std::move(done));
  }
  Result<std::chrono::nanoseconds> watch_check(const ObjectId& object,
                                               uint64_t cookie) const override {
    return lingers_.check(object, cookie);
  }
  void notify(ObjectId object, std::vector<std::byte> payload, std::chrono::milliseconds timeout,
              UniqueFunction<void(Result<NotifyResult>)> done) override {
    center_.assert_in_loop();
    watch_calls_.notify(std::move(object), std::move(payload), timeout, std::move(done));
  }
  void list_watchers(ObjectId object, UniqueFunction<void(Result<WatcherList>)> done) override {
    center_.assert_in_loop();
    watch_calls_.list_watchers(std::move(object), std::move(done));
  }
  std::string ops_in_flight_json() const override;
  std::string sessions_json() const override;
  void shutdown(UniqueFunction<void()> done) override;

 private:
  // Dispatcher.
  void on_open(msgr::Connection& connection) override;
  Bytes payload_for(msgr::Connection& connection, const msgr::MessageMeta& meta, ConstBytes front,
                    std::size_t data_bytes) override;
  void on_message(msgr::Connection& connection, msgr::InMessage message) override;
  void on_reset(msgr::Connection& connection, std::error_code why) override;
  void on_link(msgr::Connection& connection, bool is_up) override;
  void on_hello(const ServerRef& server, ConstBytes front);
  // MapEvents.
  void on_new_map(OsdMapRef map) override;
  void on_newest_confirmed(uint64_t ticket) override { submission_.on_newest_confirmed(ticket); }
  // OpEvents.
  void on_buffers_returned(Op& op) override;
  void on_op_removed() override { submission_.admit_waiting(); }
  void on_all_finished() override { finish_shutdown(); }
  void on_pool_flush_placed(Op& op, const PoolInfo& pool) override { flush_.on_placed(op, pool); }
  // CommandServers.
  ServerRef server_for(const OsdInfo& osd) override;
  void want_map(Epoch epoch, ServerConnection& server) override { maps_.want(epoch, server); }
  Error explain_no_map(std::chrono::nanoseconds waited) const override {
    return maps_.explain_no_map(waited);
  }

  void finish_shutdown();

  msgr::EventCenter& center_;
  std::unique_ptr<PerfRegistry> own_perf_;  // null if the caller has one
  ObjecterCounters counters_;
  std::unique_ptr<msgr::Messenger> messenger_;  // null if init() failed
  ServerTable servers_;
  OpTable table_;
  OpDeadlines deadlines_;
  PayloadDelivery delivery_;
  UnconfirmedChanges unconfirmed_;
  OpEnding ending_;
  MapClient maps_;
  OsdSessions sessions_;
  OpSubmission submission_;
  PoolFlush flush_;
  OpReplies replies_;
  WatchCalls watch_calls_;
  LingerOps lingers_;
  EpochWaiters waiters_;
  ServerCommands commands_;

  bool is_shutting_down_ = false;
  bool is_messenger_down_ = false;        // shutdown() is done
  UniqueFunction<void()> shutdown_done_;  // empty unless is_shutting_down_, and once it is called
};

ObjecterImpl::ObjecterImpl(msgr::EventCenter& center, Options options, PerfRegistry* perf,
                           const msgr::MessengerOptions& messenger_options)
    : center_(center),
      own_perf_(perf == nullptr ? std::make_unique<PerfRegistry>() : nullptr),
      counters_(perf == nullptr ? *own_perf_ : *perf),
      table_({options.max_in_flight_ops, options.max_in_flight_bytes}),
      deadlines_(center, [this](Op& op, OpTime now) { ending_.on_due(op, now); }),
      delivery_(center, table_, counters_, *this, messenger_options.crc_data),
      ending_(center, table_, deadlines_, delivery_, unconfirmed_, counters_, *this,
              {options.cancel_grace, options.rkey_revoke_timeout}),
      maps_(center, servers_, counters_, *this, std::move(options.bootstrap),
            messenger_options.entity, options.authority),
      sessions_(center, servers_, delivery_, ending_, unconfirmed_, counters_),
      submission_(center, table_, deadlines_, ending_, sessions_, unconfirmed_, maps_, counters_,
                  *this, {options.op_timeout, messenger_options.limits.max_data_bytes}),
      flush_(table_, deadlines_, ending_, submission_, sessions_),
      replies_(table_, delivery_, ending_, unconfirmed_, sessions_, submission_, maps_, counters_),
      watch_calls_(submission_, ending_, sessions_),
      lingers_(center, watch_calls_, table_, ending_, sessions_, counters_),
      waiters_(center, [this](std::chrono::nanoseconds waited) { return explain_no_map(waited); }),
      commands_(center, counters_, *this) {
  unconfirmed_.set_on_confirmed([this] { submission_.retry_waiting(); });
}

ObjecterImpl::~ObjecterImpl() {
  LUNAR_CHECK(messenger_ == nullptr || is_messenger_down_,
              "an Objecter is destroyed before its shutdown is done");
}

Outcome<void> ObjecterImpl::init(msgr::NetworkStack& stack,
                                 msgr::MessengerOptions messenger_options, const Keyring* keyring,
                                 PerfRegistry* perf) {
  auto messenger =
      msgr::Messenger::create(center_, stack, std::move(messenger_options), keyring, perf, this);
  if (!messenger) return failure(std::move(messenger.error()));
  messenger_ = std::move(*messenger);
  servers_.set_messenger(messenger_.get());
  maps_.start();
  return {};
}

// --- what callers ask ---

void ObjecterImpl::wait_for_map(std::chrono::nanoseconds timeout,
                                UniqueFunction<void(Outcome<OsdMapRef>)> done) {
  waiters_.wait_for_map(timeout, std::move(done));
}

void ObjecterImpl::wait_for_epoch(Epoch epoch, std::chrono::nanoseconds timeout,
                                  UniqueFunction<void(std::error_code)> done) {
  waiters_.wait_for_epoch(epoch, timeout, std::move(done));
  if (epoch > maps_.epoch() && maps_.map() != nullptr && !is_shutting_down_) maps_.ask_newest();
}

Tid ObjecterImpl::submit(ObjectOp op, OpDone done) {
  return submission_.submit(std::move(op), std::move(done));
}

Tid ObjecterImpl::flush(PoolId pool, ImageId image, uint64_t io_id, LossHearer hearer,
                        UniqueFunction<void(std::error_code)> done) {
  center_.assert_in_loop();
  return flush_.submit(pool, image, io_id, hearer, std::move(done));
}

void ObjecterImpl::cancel(Tid tid) {
  center_.assert_in_loop();
  Op* op = table_.find(tid);
  if (op == nullptr || op->is_finished) return;
  counters_.op_cancel.add();
  ending_.interrupt(*op, OsdErrc::kCancelled, CancelReason::kAbort);
}

Tid ObjecterImpl::list(PgId pg, ListScope scope, std::string cursor, uint32_t limit,
                       UniqueFunction<void(Result<std::vector<std::string>>)> done) {
  center_.assert_in_loop();
  std::optional<ObjectOp> object_op = make_list_op(pg, scope, std::move(cursor), limit);
  const bool is_valid = object_op.has_value();
  Op& op = submission_.add(OpKind::kPg, is_valid ? std::move(*object_op) : ObjectOp{},
                           [limit, done = std::move(done)](OpReply reply) mutable {
                             done(object_names_in(reply, limit));
                           });
  op.pg = pg;
  const Tid tid = op.tid;
  if (is_valid) {
    submission_.begin(op);
  } else {
    ending_.end(op, OsdErrc::kInvalid);
  }
  return tid;
}

void ObjecterImpl::command(OsdId osd, std::string json, std::chrono::nanoseconds timeout,
                           UniqueFunction<void(Outcome<std::string>)> done) {
  commands_.run(table_.take_tid(), osd, std::move(json), timeout, std::move(done));
}

std::string ObjecterImpl::ops_in_flight_json() const {
  return objecter::ops_in_flight_json(table_, commands_, center_.now());
}

std::string ObjecterImpl::sessions_json() const {
  return objecter::sessions_json(sessions_, maps_.epoch());
}

// --- what servers say ---

void ObjecterImpl::on_open(msgr::Connection& connection) {
  // Nothing is sent before the server's hello.
  if (const ServerRef server = servers_.of(connection)) server->on_open();
}

Bytes ObjecterImpl::payload_for(msgr::Connection& connection, const msgr::MessageMeta& meta,
                                ConstBytes front, std::size_t data_bytes) {
  return replies_.payload_for(connection, meta, front, data_bytes);
}

void ObjecterImpl::on_message(msgr::Connection& connection, msgr::InMessage message) {
  const ServerRef server = servers_.of(connection);
  if (server == nullptr || is_shutting_down_) return;
  const auto type = static_cast<MessageType>(message.meta.type);
  if (type == MessageType::kServerHello) return on_hello(server, message.front);
  if (!server->hello()) return;  // one that is ignored, or says nothing of who it is
  switch (type) {
    case MessageType::kOsdOpReply:
      return replies_.on_op_reply(server, std::move(message));
    case MessageType::kCancelled:
      return replies_.on_cancelled(server, message);
    case MessageType::kMap:
      return maps_.on_map(server, message.front);
    case MessageType::kMapCurrent:
      if (const auto current = decode_map_subscribe(message.front)) {
        return maps_.on_current(server, current->epoch);
      }
      break;
    case MessageType::kCommandReply:
      return commands_.on_reply(server, message);
    case MessageType::kWatchNotify:
      return lingers_.on_notify(server, message.front);
    case MessageType::kWatchLost:
      return lingers_.on_lost(server, message.front);
    case MessageType::kWatchPong:
      return lingers_.on_pong(server, message.front);
    default:
      break;
  }
  LUNAR_LOG(kObjecter, 1, "{} sent a message of type {} that is not understood, ignored",
            server->address().to_string(), message.meta.type);
}

void ObjecterImpl::on_hello(const ServerRef& server, ConstBytes front) {
  const auto hello = decode_server_hello(front);
  if (!hello || server->hello()) {
    LUNAR_LOG(kObjecter, 0, "{} sent a hello that is {}, ignored", server->address().to_string(),
              hello ? "its second" : "damaged");
    return;
  }
  if (!server->may_be(hello->osd)) {
    LUNAR_LOG_LIMITED(
        kObjecter, 0, "{} at {} says that it is osd.{}, and has not proven that: it is ignored",
        server->connection().peer().entity, server->address().to_string(), hello->osd);
    return;
  }
  if (!maps_.accepts(*server, *hello)) return;
  server->on_hello(*hello);
  counters_.session_open.add();
  const bool is_meant = sessions_.on_hello(server);
  lingers_.on_hello(server);
  commands_.on_hello(server);
  maps_.on_hello(server);
  if (!is_meant) maps_.ask_newest();
}

void ObjecterImpl::on_reset(msgr::Connection& connection, std::error_code why) {
  const ServerRef server = servers_.of(connection);
  if (server == nullptr) return;
  const bool had_session = server->is_open();
  server->on_reset(why);
  LUNAR_LOG(kObjecter, 1, "session with {} lost: {}", server->address().to_string(), why.message());
  if (had_session) counters_.session_reset.add();
  sessions_.on_reset(server);
  lingers_.on_reset(server);
  commands_.on_reset(*server, why);
  maps_.on_lost(*server);
}

void ObjecterImpl::on_link(msgr::Connection& connection, bool is_up) {
  const ServerRef server = servers_.of(connection);
  if (server == nullptr) return;
  server->on_link(is_up);
  if (is_up) return;
  maps_.on_lost(*server);
  sessions_.on_link_down();
}

// --- what the parts say ---

void ObjecterImpl::on_new_map(OsdMapRef map) {
  submission_.set_map(map);
  sessions_.on_new_map(map);
  submission_.retarget_all();
  sessions_.send_waiting();
  lingers_.on_new_map(map);
  commands_.on_new_map(map);
  waiters_.on_new_map(std::move(map));
}

void ObjecterImpl::on_buffers_returned(Op& op) {
  if (op.state == OpState::kWaitSession) {
    sessions_.try_send(op);
  } else {
    ending_.finish_if_free(op);
  }
}

ServerRef ObjecterImpl::server_for(const OsdInfo& osd) {
  const ServerRef server = sessions_.server_of(osd.id);
  return server != nullptr ? server : servers_.get(osd.addresses.front());
}

// --- the end ---

void ObjecterImpl::shutdown(UniqueFunction<void()> done) {
  center_.assert_in_loop();
  LUNAR_CHECK(!is_shutting_down_, "shutdown() is for once");
  is_shutting_down_ = true;
  shutdown_done_ = std::move(done);
  maps_.stop();
  lingers_.shut_down();
  submission_.shut_down();
  sessions_.shut_down();
  table_.for_each(
      [this](Op& op) { ending_.interrupt(op, OsdErrc::kShutdown, CancelReason::kShutdown); });
  waiters_.shut_down();
  commands_.shut_down();
  finish_shutdown();
}

void ObjecterImpl::finish_shutdown() {
  if (!shutdown_done_ || !table_.is_empty() || !ending_.is_idle()) return;
  deadlines_.stop();
  sessions_.clear();
  messenger_->shutdown([this, done = std::exchange(shutdown_done_, {})]() mutable {
    is_messenger_down_ = true;
    auto last = std::move(done);  // which may destroy us, and this callback
    last();
  });
}

}  // namespace

Outcome<Objecter::Options> Objecter::Options::from_config(const Config& config) {
  Options options;
  options.op_timeout = config.get_duration("objecter_op_timeout");
  options.max_in_flight_ops = static_cast<uint32_t>(config.get_uint("objecter_inflight_ops"));
  options.max_in_flight_bytes = config.get_size("objecter_inflight_op_bytes");
  options.rkey_revoke_timeout = config.get_duration("objecter_rkey_revoke_timeout");
  auto bootstrap = parse_mon_host(config.get_string("mon_host"));
  if (!bootstrap) return failure(std::move(bootstrap.error()));
  options.bootstrap = std::move(*bootstrap);
  auto authority = parse_map_authority(config.get_string("map_authority"));
  if (!authority) return failure(std::move(authority.error()));
  options.authority = *authority;
  return options;
}

Outcome<std::unique_ptr<Objecter>> Objecter::create(msgr::EventCenter& center,
                                                    msgr::NetworkStack& stack,
                                                    msgr::MessengerOptions messenger_options,
                                                    Options options, const Keyring* keyring,
                                                    PerfRegistry* perf) {
  if (options.bootstrap.empty()) {
    return failure(OsdErrc::kUnreachable,
                   "no servers are known: set mon_host to the address of any lunar-osd of the "
                   "cluster, as in 127.0.0.1:6800");
  }
  auto objecter =
      std::make_unique<ObjecterImpl>(center, std::move(options), perf, messenger_options);
  auto started = objecter->init(stack, std::move(messenger_options), keyring, perf);
  if (!started) return failure(std::move(started.error()));
  return objecter;
}

}  // namespace lunar::objecter
