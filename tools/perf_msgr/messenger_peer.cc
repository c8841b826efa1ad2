// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <optional>
#include <utility>
#include <vector>

#include "msgr/errors.h"
#include "tools/perf_msgr/buffers.h"
#include "tools/perf_msgr/peer.h"
#include "tools/perf_msgr/perf_message.h"

namespace lunar::perf_msgr {
namespace {

// Ops on a session, as a gateway's are: authenticated, acknowledged. A messenger of its own per
// connection, because one messenger has one connection to an address. Loop-bound.
class MessengerPeer final : public Peer, msgr::Dispatcher {
 public:
  MessengerPeer(msgr::EventCenter& center, const Environment& environment,
                const msgr::Address& server, const Job& job, PeerEvents& events)
      : center_(center),
        environment_(environment),
        server_(server),
        job_(job),
        events_(events),
        slots_(job.depth) {}

  void open() override { request_buffers(&Slot::request, job_.bytes); }

  void submit(uint32_t slot) override {
    connection_->send(PerfMessage::make(Type::kRequest, slot, {}, slots_[slot].request.bytes()));
  }
  void ask_stats() override { connection_->send(PerfMessage::make(Type::kStop, 0, {})); }

  void close(UniqueFunction<void()> closed) override {
    is_over_ = true;
    buffers_.reset();
    connection_.reset();
    if (messenger_ == nullptr) return center_.post(std::move(closed));
    messenger_->shutdown(std::move(closed));
  }

 private:
  struct Slot {
    msgr::RegisteredBuffer request, reply;
  };

  void request_buffers(msgr::RegisteredBuffer Slot::*where, uint32_t bytes) {
    buffers_.emplace(
        center_, environment_.stack.buffers(), bytes, job_.depth,
        [this, where, bytes](std::vector<msgr::RegisteredBuffer> taken) {
          if (bytes != 0 && taken.size() < slots_.size()) {
            return fail_with(std::make_error_code(std::errc::not_enough_memory),
                             "the stack has not enough buffers for that size and depth");
          }
          for (std::size_t i = 0; i < taken.size(); ++i) {
            slots_[i].*where = std::move(taken[i]);
          }
          where == &Slot::request ? request_buffers(&Slot::reply, job_.reply_bytes) : connect();
        });
  }

  void connect() {
    auto messenger = msgr::Messenger::create(center_, environment_.stack, environment_.messenger,
                                             environment_.keyring, &environment_.perf, this);
    if (!messenger) return fail(std::move(messenger.error()));
    messenger_ = std::move(*messenger);
    connection_ = messenger_->connect(server_, msgr::Policy::kLossyClient);
  }

  void on_open(msgr::Connection& connection) override {
    connection.send(PerfMessage::make(Type::kStart, 0, encode(job_)));
  }

  Bytes payload_for(msgr::Connection&, const msgr::MessageMeta& meta, ConstBytes,
                    std::size_t data_bytes) override {
    if (static_cast<Type>(meta.type) != Type::kReply || meta.tid >= slots_.size()) return {};
    const Bytes place = slots_[meta.tid].reply.bytes();
    return place.size() == data_bytes ? place : Bytes();
  }

  void on_message(msgr::Connection&, msgr::InMessage message) override {
    if (is_over_) return;
    switch (static_cast<Type>(message.meta.type)) {
      case Type::kReady:
        return events_.on_opened(*this);
      case Type::kReply:
        if (message.meta.tid >= slots_.size() || !message.front.empty()) break;
        return events_.on_done(*this, static_cast<uint32_t>(message.meta.tid));
      case Type::kStats:
        if (const auto stats = decode_stats(message.front)) return events_.on_stats(*this, *stats);
        break;
      default:
        break;
    }
    fail_with(msgr::Errc::kBadFrame, "the server does not answer as lunar-perf-msgr does");
  }

  void on_reset(msgr::Connection&, std::error_code why) override {
    fail_with(why, "the session ended");
  }

  void fail_with(std::error_code code, const std::string& what) {
    fail({code, fmt::format("{}: {}: {}", server_.to_string(), what, code.message())});
  }
  void fail(Error error) {
    if (is_over_) return;
    is_over_ = true;
    events_.on_failed(*this, std::move(error));
  }

  msgr::EventCenter& center_;
  const Environment& environment_;
  const msgr::Address server_;
  const Job job_;
  PeerEvents& events_;
  bool is_over_ = false;
  std::vector<Slot> slots_;  // outlive the messenger
  std::optional<BufferRequest> buffers_;
  std::unique_ptr<msgr::Messenger> messenger_;
  msgr::ConnectionRef connection_;
};

}  // namespace

std::unique_ptr<Peer> make_messenger_peer(msgr::EventCenter& center, const Environment& environment,
                                          const msgr::Address& server, const Job& job,
                                          PeerEvents& events) {
  return std::make_unique<MessengerPeer>(center, environment, server, job, events);
}

}  // namespace lunar::perf_msgr
