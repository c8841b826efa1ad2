// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/support/fake_osd.h"

#include <gtest/gtest.h>

namespace lunar::test {

using objecter::MessageType;

namespace {

// Data that the message itself keeps.
class DataMessage final : public msgr::OutMessage {
 public:
  DataMessage(msgr::MessageMeta meta, std::vector<std::byte> front, std::vector<std::byte> data)
      : OutMessage(meta), front_(std::move(front)), data_(std::move(data)) {}
  void encode(msgr::Link&, uint64_t, msgr::EncodedMessage& out) override {
    out.front = front_;
    if (!data_.empty()) out.data.push_back(data_);
  }

 private:
  const std::vector<std::byte> front_;
  const std::vector<std::byte> data_;
};

template <typename T>
std::vector<std::byte> encoded(const T& value) {
  std::vector<std::byte> out;
  encode(value, out);
  return out;
}

}  // namespace

FakeOsd::FakeOsd(msgr::EventCenter& center, msgr::NetworkStack& stack, objecter::OsdId id,
                 msgr::MessengerOptions options, const Keyring* keyring)
    : center_(center), stack_(stack), id_(id) {
  options.entity = "osd." + std::to_string(id);
  options.instance = "fake-" + std::to_string(id);
  hello.osd = id;
  hello.incarnation = 1000 + static_cast<uint64_t>(id);
  hello.verifier = 1;
  hello.remembers_client = true;
  auto messenger =
      msgr::Messenger::create(center_, stack_, std::move(options), keyring, &perf_, this);
  EXPECT_TRUE(messenger) << messenger.error().message;
  messenger_ = std::move(*messenger);
}

FakeOsd::~FakeOsd() = default;

msgr::Address FakeOsd::start(const msgr::Address& at) {
  auto bound = messenger_->bind(at, msgr::Policy::kStatefulServer);
  EXPECT_TRUE(bound) << bound.error().message;
  address_ = *bound;
  return address_;
}

void FakeOsd::stop(InlineFunction<void()> done) {
  peers_.clear();
  ops.clear();
  auto later = std::make_unique<InlineFunction<void()>>(std::move(done));
  messenger_->shutdown([this, later = std::move(later)] {
    is_stopped_ = true;
    (*later)();
  });
}

objecter::OsdReplyHeader FakeOsd::ok(const Received& received) const {
  objecter::OsdReplyHeader header;
  header.tid = received.op.tid;
  header.attempt = received.op.attempt;
  header.epoch = map ? map->epoch : 0;
  header.version = {hello.incarnation, received.op.tid};
  header.verifier = hello.verifier;
  header.steps.resize(received.op.steps.size());
  return header;
}

void FakeOsd::reply(const Received& to, const objecter::OsdReplyHeader& header,
                    const std::vector<std::byte>& data) {
  send(*to.from, MessageType::kOsdOpReply, encoded(header), header.tid, data);
}

void FakeOsd::reply_next(objecter::OsdErrc error, const std::vector<std::byte>& data) {
  ASSERT_FALSE(ops.empty());
  const Received received = std::move(ops.front());
  ops.pop_front();
  objecter::OsdReplyHeader header = ok(received);
  header.error = error;
  if (error != objecter::OsdErrc::kOk) header.steps.front().error = error;
  header.steps.front().data_length = static_cast<uint32_t>(data.size());
  reply(received, header, data);
}

void FakeOsd::say_hello() {
  for (auto& [connection, peer] : peers_) {
    if (!std::exchange(peer.heard_hello, true)) send_hello(*connection);
  }
}

void FakeOsd::push_map() {
  for (auto& [connection, peer] : peers_) {
    if (peer.is_subscribed) send_map(*connection);
  }
}

void FakeOsd::send_cancelled(objecter::Tid tid) {
  objecter::CancelNote note{tid};
  for (std::size_t i = 0; i < cancels.size(); ++i)
    if (cancels[i] == tid) note.attempt = given_up[i];
  send_raw(MessageType::kCancelled, encoded(note));
}

void FakeOsd::send_raw(MessageType type, std::vector<std::byte> front, uint64_t tid) {
  for (auto& [connection, peer] : peers_) send(*connection, type, front, tid);
}

void FakeOsd::drop_sessions() {
  ops.clear();
  for (auto& [connection, peer] : peers_) connection->close();
  peers_.clear();
}

void FakeOsd::on_open(msgr::Connection& connection) {
  ++sessions;
  Peer& peer = peers_[&connection];
  for (const msgr::ConnectionRef& each : messenger_->connections()) {
    if (each.get() == &connection) peer.connection = each;
  }
  if (says_hello) {
    peer.heard_hello = true;
    send_hello(connection);
  }
}

void FakeOsd::on_reset(msgr::Connection& connection, std::error_code) {
  std::erase_if(ops, [&](const Received& received) { return received.from == &connection; });
  peers_.erase(&connection);
}

void FakeOsd::on_message(msgr::Connection& connection, msgr::InMessage message) {
  switch (static_cast<MessageType>(message.meta.type)) {
    case MessageType::kOsdOp:
      return on_op(connection, message);
    case MessageType::kCancel: {
      const auto note = objecter::decode_cancel_note(message.front);
      ASSERT_TRUE(note);
      cancels.push_back(note->tid);
      given_up.push_back(note->attempt);
      std::erase_if(ops, [&](const Received& each) { return each.op.tid == note->tid; });
      if (confirms_cancels) {
        send(connection, MessageType::kCancelled, encoded(*note));
      }
      return;
    }
    case MessageType::kMapSubscribe: {
      const auto subscribe = objecter::decode_map_subscribe(message.front);
      ASSERT_TRUE(subscribe);
      subscriptions.push_back(subscribe->epoch);
      peers_[&connection].is_subscribed = true;
      if (!answers_subscriptions) return;
      if (map && map->epoch > subscribe->epoch) {
        send_map(connection);
      } else {
        const objecter::Epoch epoch = map ? map->epoch : 0;
        send(connection, MessageType::kMapCurrent, encoded(objecter::MapSubscribe{epoch}));
      }
      return;
    }
    case MessageType::kCommand: {
      commands.emplace_back(as_text(message.front));
      if (on_command) {
        send(connection, MessageType::kCommandReply, encoded(on_command(commands.back())),
             message.meta.tid);
      }
      return;
    }
    case MessageType::kOsdBoot: {
      const auto boot = objecter::decode_osd_boot(message.front);
      ASSERT_TRUE(boot);
      boots.push_back(*boot);
      const objecter::OsdBootReply up{objecter::OsdErrc::kOk, map ? map->epoch : 0, {}};
      send(connection, MessageType::kOsdBootReply, encoded(on_boot ? on_boot(*boot) : up));
      return;
    }
    case MessageType::kWatchPing:
      ++watch_pings;
      if (answers_watch_pings) {
        send(connection, MessageType::kWatchPong, {message.front.begin(), message.front.end()});
      }
      return;
    default:
      ADD_FAILURE() << "osd." << id_ << " got a message of type " << message.meta.type;
  }
}

void FakeOsd::on_op(msgr::Connection& connection, const msgr::InMessage& message) {
  auto op = objecter::decode_osd_op(message.front, message.data.size());
  ASSERT_TRUE(op) << "the client sent an op that breaks the protocol";
  EXPECT_EQ(op->tid, message.meta.tid);
  EXPECT_TRUE(peers_[&connection].heard_hello) << "an op before the hello";
  ++ops_seen;
  Received received{std::move(*op),
                    {message.data.begin(), message.data.end()},
                    message.meta.trace_id,
                    &connection,
                    message.link_generation};
  if (answer) {
    if (const auto header = answer(received)) {
      reply(received, *header);
      return;
    }
  }
  ops.push_back(std::move(received));
}

void FakeOsd::send_hello(msgr::Connection& connection) {
  hello.epoch = map ? map->epoch : 0;
  if (map) hello.fsid = map->fsid;
  objecter::ServerHello said = hello;
  const objecter::OsdInfo* us = map ? map->find_osd(id_) : nullptr;
  if (said.store.is_nil() && us != nullptr) said.store = us->store;
  send(connection, MessageType::kServerHello, encoded(said));
}

void FakeOsd::send_map(msgr::Connection& connection) {
  send(connection, MessageType::kMap, encoded(*map));
}

void FakeOsd::send(msgr::Connection& connection, MessageType type, std::vector<std::byte> front,
                   uint64_t tid, const std::vector<std::byte>& data) {
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(type);
  meta.tid = tid;
  connection.send(std::make_unique<DataMessage>(meta, std::move(front), data));
}

}  // namespace lunar::test
