// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>
#include <optional>
#include <utility>

#include "tools/perf_msgr/buffers.h"
#include "tools/perf_msgr/perf_message.h"
#include "tools/perf_msgr/server.h"

namespace lunar::perf_msgr {
namespace {

// What the server knows of one session: its job. Loop-bound; kept as the connection's context.
struct SessionJob {
  std::optional<Job> job;
  msgr::RegisteredBuffer reply;
  std::optional<BufferRequest> buffers;
  uint64_t ops = 0;
  uint64_t cpu_at_start = 0;
};

// Loop-bound.
class MessengerServer final : public Server, msgr::Dispatcher {
 public:
  MessengerServer(msgr::EventCenter& center, const Environment& environment)
      : center_(center), environment_(environment) {}

  Outcome<void> listen(const msgr::Address& address) {
    auto messenger = msgr::Messenger::create(center_, environment_.stack, environment_.messenger,
                                             environment_.keyring, &environment_.perf, this);
    if (!messenger) return failure(messenger.error());
    auto bound = (*messenger)->bind(address, msgr::Policy::kStatelessServer);
    messenger_ = std::move(*messenger);
    if (!bound) return failure(bound.error());
    address_ = *bound;
    return {};
  }

  msgr::Address address() const override { return address_; }
  void shutdown(InlineFunction<void()> done) override { messenger_->shutdown(std::move(done)); }

 private:
  void on_open(msgr::Connection& connection) override {
    connection.set_context(std::make_shared<SessionJob>());
  }
  void on_reset(msgr::Connection& connection, std::error_code) override {
    connection.set_context(nullptr);
  }

  void on_message(msgr::Connection& connection, msgr::InMessage message) override {
    SessionJob& session = *static_cast<SessionJob*>(connection.context().get());
    switch (static_cast<Type>(message.meta.type)) {
      case Type::kStart:
        return start(connection, session, message.front);
      case Type::kRequest:
        if (!session.job) break;
        ++session.ops;
        return connection.send(
            PerfMessage::make(Type::kReply, message.meta.tid, {}, session.reply.bytes()));
      case Type::kStop:
        return connection.send(PerfMessage::make(
            Type::kStats, 0,
            encode(ServerStats{session.ops, thread_cpu_ns() - session.cpu_at_start})));
      default:
        break;
    }
    connection.close();  // not one of ours
  }

  void start(msgr::Connection& connection, SessionJob& session, ConstBytes front) {
    const auto job = decode_job(front);
    if (!job || job->pattern != Pattern::kSend || session.job || session.buffers) {
      return connection.close();
    }
    session.buffers.emplace(
        center_, environment_.stack.buffers(), job->reply_bytes, 1,
        [&connection, &session, job](std::vector<msgr::RegisteredBuffer> taken) {
          if (job->reply_bytes != 0 && taken.empty()) return connection.close();
          if (!taken.empty()) session.reply = std::move(taken.front());
          session.job = job;
          session.cpu_at_start = thread_cpu_ns();
          connection.send(PerfMessage::make(Type::kReady, 0, encode(msgr::RemoteKey{})));
        });
  }

  msgr::EventCenter& center_;
  const Environment& environment_;
  msgr::Address address_;
  std::unique_ptr<msgr::Messenger> messenger_;
};

}  // namespace

Outcome<std::unique_ptr<Server>> make_messenger_server(msgr::EventCenter& center,
                                                       const Environment& environment,
                                                       const msgr::Address& address) {
  auto server = std::make_unique<MessengerServer>(center, environment);
  if (const auto listening = server->listen(address); !listening) {
    bool closed = false;
    server->shutdown([&closed] { closed = true; });
    while (!closed) center.process();
    return failure(listening.error());
  }
  return server;
}

}  // namespace lunar::perf_msgr
