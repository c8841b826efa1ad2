// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>
#include <utility>

#include "tools/perf_msgr/peer_base.h"
#include "tools/perf_msgr/perf_message.h"

namespace lunar::perf_msgr {
namespace {

// Ops on a session, as a gateway's are: authenticated, acknowledged. A messenger of its own per
// connection, because one messenger has one connection to an address. Loop-bound.
class MessengerPeer final : public PeerBase, msgr::Dispatcher {
 public:
  MessengerPeer(msgr::EventCenter& center, const Environment& environment,
                const msgr::Address& server, const Job& job, PeerEvents& events)
      : PeerBase(center, environment, server, job, events) {}

  void open() override { take_buffers(environment_.stack.buffers()); }

  void submit(uint32_t slot) override {
    connection_->send(PerfMessage::make(Type::kRequest, slot, {}, slots_[slot].buffer.bytes()));
  }
  void ask_stats() override { connection_->send(PerfMessage::make(Type::kStop, 0, {})); }

  void close(InlineFunction<void()> closed) override {
    stop();
    connection_.reset();
    if (messenger_ == nullptr) return center_.post(std::move(closed));
    messenger_->shutdown(std::move(closed));
  }

 private:
  void on_buffers() override {
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
    return place_of(static_cast<Type>(meta.type), meta.tid, data_bytes);
  }

  void on_message(msgr::Connection&, msgr::InMessage message) override {
    on_answer(static_cast<Type>(message.meta.type), message.meta.tid, message.front);
  }

  void on_ready(ConstBytes) override { events_.on_opened(*this); }

  void on_reset(msgr::Connection&, std::error_code why) override {
    fail_with(why, "the session ended");
  }

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
