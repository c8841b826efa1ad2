// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/objecter.h"

#include <fmt/format.h>

#include "common/check.h"
#include "common/log.h"
#include "msgr/errors.h"
#include "objecter/cluster/mon_host.h"
#include "objecter/objecter_impl.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {

Outcome<Objecter::Options> Objecter::Options::from_config(const Config& config) {
  Options options;
  options.op_timeout = config.get_duration("objecter_op_timeout");
  options.max_in_flight_ops = static_cast<uint32_t>(config.get_uint("objecter_inflight_ops"));
  options.max_in_flight_bytes = config.get_size("objecter_inflight_op_bytes");
  options.rkey_revoke_timeout = config.get_duration("objecter_rkey_revoke_timeout");
  auto bootstrap = parse_mon_host(config.get_string("mon_host"));
  if (!bootstrap) return failure(std::move(bootstrap.error()));
  options.bootstrap = std::move(*bootstrap);
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
      std::make_unique<ObjecterImpl>(center, std::move(options), perf, messenger_options.entity);
  auto started = objecter->init(stack, std::move(messenger_options), keyring, perf);
  if (!started) return failure(std::move(started.error()));
  return objecter;
}

ObjecterImpl::ObjecterImpl(msgr::EventCenter& center, Options options, PerfRegistry* perf,
                           std::string entity)
    : center_(center),
      options_(std::move(options)),
      own_perf_(perf == nullptr ? std::make_unique<PerfRegistry>() : nullptr),
      counters_(perf == nullptr ? *own_perf_ : *perf),
      table_({options_.max_in_flight_ops, options_.max_in_flight_bytes}),
      maps_(center, servers_, counters_, *this, options_.bootstrap, std::move(entity)) {}

ObjecterImpl::~ObjecterImpl() {
  LUNAR_CHECK(messenger_ == nullptr || messenger_is_down_,
              "an Objecter is destroyed before its shutdown is done");
}

Outcome<void> ObjecterImpl::init(msgr::NetworkStack& stack,
                                 msgr::MessengerOptions messenger_options, const Keyring* keyring,
                                 PerfRegistry* perf) {
  crc_data_ = messenger_options.crc_data;
  max_data_bytes_ = messenger_options.limits.max_data_bytes;
  auto messenger =
      msgr::Messenger::create(center_, stack, std::move(messenger_options), keyring, perf, this);
  if (!messenger) return failure(std::move(messenger.error()));
  messenger_ = std::move(*messenger);
  servers_.set_messenger(messenger_.get());
  maps_.start();
  return {};
}

// --- Dispatcher ---

void ObjecterImpl::on_open(msgr::Connection& connection) {
  // Nothing is sent before the server's hello.
  if (const ServerRef server = servers_.of(connection)) server->on_open();
}

Bytes ObjecterImpl::payload_for(msgr::Connection& connection, const msgr::MessageMeta& meta,
                                ConstBytes front, std::size_t data_bytes) {
  if (meta.type != static_cast<uint16_t>(MessageType::kOsdOpReply)) return {};
  Op* op = table_.find(meta.tid);
  if (op == nullptr || op->state != OpState::kSent || op->withdrawals != 0) return {};
  const Bytes into = op->request.read_into;
  if (into.empty() || into.size() != data_bytes) return {};
  if (&op->session->server()->connection() != &connection) return {};
  // The beginning of OsdReplyHeader. All of it is checked once the message is whole.
  ByteReader r(front);
  const bool fits = r.get<Tid>() == op->tid && r.get<uint32_t>() == op->attempt &&
                    r.get<int32_t>() == static_cast<int32_t>(OsdErrc::kOk);
  return fits && r.ok() ? into : Bytes{};
}

void ObjecterImpl::on_message(msgr::Connection& connection, msgr::InMessage message) {
  const ServerRef server = servers_.of(connection);
  if (server == nullptr || is_shutting_down_) return;
  switch (static_cast<MessageType>(message.meta.type)) {
    case MessageType::kServerHello:
      return on_hello(server, message.front);
    case MessageType::kOsdOpReply:
      return on_op_reply(server, std::move(message));
    case MessageType::kCancelled:
      return on_cancelled(server, message);
    case MessageType::kMap:
      return maps_.on_map(server, message.front);
    case MessageType::kMapCurrent:
      if (const auto current = decode_map_subscribe(message.front)) {
        return maps_.on_current(server, current->epoch);
      }
      break;
    case MessageType::kCommandReply:
      return on_command_reply(server, message);
    default:
      break;
  }
  LUNAR_LOG(kObjecter, 1, "{} sent a message of type {} that is not understood, ignored",
            server->address().to_string(), message.meta.type);
}

void ObjecterImpl::on_reset(msgr::Connection& connection, std::error_code why) {
  const ServerRef server = servers_.of(connection);
  if (server == nullptr) return;
  const bool had_session = server->is_open();
  server->on_reset(why);
  LUNAR_LOG(kObjecter, 1, "session with {} lost: {}", server->address().to_string(), why.message());
  if (had_session) counters_.session_reset.add();
  for (auto& [id, session] : sessions_) {
    if (session->server() == server) session_lost(*session);
  }
  lose_commands(*server, why);
  maps_.on_lost(*server);
}

void ObjecterImpl::on_link(msgr::Connection& connection, bool up) {
  const ServerRef server = servers_.of(connection);
  if (server == nullptr) return;
  server->on_link(up);
  if (!up) {
    maps_.on_lost(*server);
    watch_addresses();
  }
}

// --- the end ---

void ObjecterImpl::shutdown(InlineFunction<void()> done) {
  center_.assert_in_loop();
  LUNAR_CHECK(!is_shutting_down_, "shutdown() is for once");
  is_shutting_down_ = true;
  shutdown_done_ = std::move(done);
  maps_.stop();
  center_.cancel(std::exchange(retry_timer_, msgr::TimerId::kNone));
  center_.cancel(std::exchange(address_timer_, msgr::TimerId::kNone));
  table_.for_each([this](Op& op) { interrupt(op, OsdErrc::kShutdown, CancelReason::kShutdown); });
  fail_waiters();
  while (!commands_.empty()) {
    end_command(commands_.begin()->first, failure(OsdErrc::kShutdown, "shutting down"));
  }
  finish_shutdown();
}

void ObjecterImpl::finish_shutdown() {
  if (!is_shutting_down_ || !shutdown_done_ || !table_.empty() || finish_is_posted_) return;
  center_.cancel(std::exchange(deadline_timer_, msgr::TimerId::kNone));
  sessions_.clear();
  // On the heap: it is as large as what a callback can hold.
  auto done = std::make_unique<InlineFunction<void()>>(std::exchange(shutdown_done_, {}));
  messenger_->shutdown([this, done = std::move(done)] {
    messenger_is_down_ = true;
    auto last = std::move(*done);  // which may destroy us, and this callback
    last();
  });
}

}  // namespace lunar::objecter
