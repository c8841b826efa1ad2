// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "msgr/loopback/loopback_stack.h"
#include "objecter/objecter.h"
#include "objecter/protocol/control.h"
#include "osd/map/map_authority.h"
#include "osd/server/osd_server.h"
#include "osd/store/mem_store.h"
#include "tests/osd/store/faulty_store.h"
#include "tests/support/virtual_time.h"

namespace lunar::osd {

// A client that sends any bytes as any message, and keeps what comes back.
class RawClient final : private msgr::Dispatcher {
 public:
  struct Message {
    uint16_t type = 0;
    uint64_t tid = 0;
    std::vector<std::byte> front;
    std::string data;
  };
  RawClient(msgr::EventCenter& center, msgr::NetworkStack& stack, const msgr::Address& server,
            std::string instance = "raw", uint64_t nonce = 1)
      : RawClient(center, stack, server, {nullptr, "client.raw", std::move(instance), nonce}) {}
  struct Identity {
    const Keyring* keyring = nullptr;  // null: without authentication
    std::string entity;
    std::string instance = "raw";
    uint64_t nonce = 1;
  };
  RawClient(msgr::EventCenter& center, msgr::NetworkStack& stack, const msgr::Address& server,
            const Identity& identity)
      : center_(center) {
    msgr::MessengerOptions options;
    options.auth_required = identity.keyring != nullptr;
    options.entity = identity.entity;
    options.instance = identity.instance;
    options.nonce = identity.nonce;
    messenger_ = std::move(*msgr::Messenger::create(center, stack, options, identity.keyring,
                                                    nullptr, static_cast<msgr::Dispatcher*>(this)));
    connection_ = messenger_->connect(server, msgr::Policy::kLosslessClient);
    center_.run_until_idle();
  }
  ~RawClient() override {
    messenger_->shutdown([] {});
    center_.run_until_idle();
  }
  void send(objecter::MessageType type, std::vector<std::byte> front, uint64_t tid = 0,
            std::string_view data = {}) {
    post(type, std::move(front), tid, data);
    center_.run_until_idle();
  }
  void post(objecter::MessageType type, std::vector<std::byte> front, uint64_t tid,
            std::string_view data) {
    msgr::MessageMeta meta;
    meta.type = static_cast<uint16_t>(type);
    meta.tid = tid;
    connection_->send(std::make_unique<Out>(meta, std::move(front), std::string(data)));
  }
  template <typename T>
  void send(objecter::MessageType type, const T& value, uint64_t tid = 0) {
    std::vector<std::byte> front;
    objecter::encode(value, front);
    send(type, std::move(front), tid);
  }
  // The newest of this type, which must be there.
  Message last(objecter::MessageType type) const {
    for (auto at = received.rbegin(); at != received.rend(); ++at)
      if (at->type == static_cast<uint16_t>(type)) return *at;
    ADD_FAILURE() << "no message of type " << static_cast<int>(type) << " came";
    return {};
  }
  objecter::OsdReplyHeader last_reply() const {
    const Message message = last(objecter::MessageType::kOsdOpReply);
    const auto reply = objecter::decode_osd_reply(message.front, message.data.size());
    EXPECT_TRUE(reply);
    return reply ? *reply : objecter::OsdReplyHeader();
  }
  std::size_t count(objecter::MessageType type) const {
    std::size_t found = 0;
    for (const Message& message : received) found += message.type == static_cast<uint16_t>(type);
    return found;
  }
  bool is_open() const { return connection_->is_open(); }
  std::vector<Message> received;

 private:
  struct Out final : msgr::OutMessage {
    Out(msgr::MessageMeta meta, std::vector<std::byte> f, std::string d)
        : OutMessage(meta), front(std::move(f)), data(std::move(d)) {}
    void encode(msgr::Link&, uint64_t, msgr::EncodedMessage& out) override {
      out.front = front;
      if (!data.empty()) out.data.push_back(as_const_bytes(data));
    }
    std::vector<std::byte> front;
    std::string data;
  };
  void on_open(msgr::Connection&) override {}
  void on_message(msgr::Connection&, msgr::InMessage message) override {
    received.push_back(
        {message.meta.type, message.meta.tid, message.front, std::string(as_text(message.data))});
  }
  void on_reset(msgr::Connection&, std::error_code) override {}

  msgr::EventCenter& center_;
  std::unique_ptr<msgr::Messenger> messenger_;
  msgr::ConnectionRef connection_;
};

// Servers on stores in memory and an Objecter, over a network in memory, on one loop, in virtual
// time.
class ServerFixture : public ::testing::Test {
 protected:
  struct Osd {
    std::unique_ptr<PerfRegistry> perf = std::make_unique<PerfRegistry>();
    std::unique_ptr<FaultyStore> store;
    std::unique_ptr<OsdServer> server;
    msgr::Address address;
    std::string refused;
  };

  explicit ServerFixture(const msgr::LoopbackOptions& network = {}) : stack(network) {
    msgr::EventCenter::Options timed;
    timed.time = &time;
    center = std::move(*msgr::EventCenter::create(timed));
    options.auth_required = false;
  }
  ~ServerFixture() override {
    if (client) {
      client->shutdown([] {});
      turn();
      client.reset();
    }
    // The authority last, so that it learns that the others go down.
    for (auto at = osds.rbegin(); at != osds.rend(); ++at) stop(at->first);
    turn();
  }
  void turn() { center->run_until_idle(); }  // no time passes
  // Lets time pass until `done()` holds; see VirtualTime::turn_until().
  template <typename Done>
  bool until(Done done, std::chrono::seconds limit = std::chrono::seconds(30)) {
    return time.turn_until(*center, std::move(done), limit);
  }

  // What the server has for its store, by one in memory.
  virtual std::unique_ptr<ObjectStore> store_of(OsdId, std::unique_ptr<ObjectStore> in_memory) {
    return in_memory;
  }
  void make_store(OsdId id, const Uuid& cluster) {
    MemStore::Options store_options;
    store_options.identity = {cluster, Uuid::random(), id};
    auto in_memory = std::make_unique<MemStore>(*center, stack.buffers(), store_options);
    osds[id].store = std::make_unique<FaultyStore>(*center, store_of(id, std::move(in_memory)));
    if (id != 0) return;
    std::vector<std::byte> record;
    objecter::encode(make_first_map(cluster, 0, store_options.identity.store), record);
    osds[id].store->put_record(kMapRecord, std::move(record), [](std::error_code) {});
    turn();
  }
  // Starts osd.`id` on its store; an error stays in Osd::refused.
  Osd& start(OsdId id) {
    Osd& osd = osds[id];
    if (!osd.store) make_store(id, fsid);
    OsdServerOptions server_options = options;
    if (id != 0) server_options.bootstrap = {osds[0].address};
    auto server = OsdServer::create(*center, *osd.store, server_options, *osd.perf);
    EXPECT_TRUE(server) << server.error().message;
    osd.server = std::move(*server);
    osd.server->set_on_refused([&osd](const Error& error) { osd.refused = error.message; });
    msgr::MessengerOptions messenger;
    messenger.auth_required = keyring.has_value();
    messenger.entity = "osd." + std::to_string(id);
    messenger.instance = messenger.entity;
    if (throttle_bytes != 0) messenger.dispatch_throttle_bytes = throttle_bytes;
    const msgr::Address at = msgr::Address::loopback(static_cast<uint16_t>(6800 + id));
    const Keyring* keys = keyring ? &*keyring : nullptr;
    osd.server->start(stack, messenger, keys, {{at}, {}}, [&osd](Outcome<msgr::Address> ready) {
      if (ready)
        osd.address = *ready;
      else
        osd.refused = ready.error().message;
    });
    turn();
    return osd;
  }
  void stop(OsdId id) {
    Osd& osd = osds[id];
    if (!osd.server) return;
    bool stopped = false;
    osd.server->shutdown([&] { stopped = true; });
    EXPECT_TRUE(until([&] { return stopped; }));
    osd.server.reset();
  }

  void connect_client(std::string instance = "gateway", std::string entity = "client.admin") {
    objecter::Objecter::Options objecter_options;
    for (auto& [id, osd] : osds) objecter_options.bootstrap.push_back(osd.address);
    msgr::MessengerOptions messenger;
    messenger.auth_required = keyring.has_value();
    messenger.entity = std::move(entity);
    messenger.instance = std::move(instance);
    client = std::move(*objecter::Objecter::create(*center, stack, messenger, objecter_options,
                                                   keyring ? &*keyring : nullptr, nullptr));
    turn();
  }
  objecter::CommandReply command(std::string json, OsdId osd = -1) {
    objecter::CommandReply reply;
    reply.error = OsdErrc::kBusy;  // there was no reply
    client->command(
        osd, std::move(json), std::chrono::seconds(5), [&](Outcome<std::string> answer) {
          reply.error = answer ? OsdErrc::kOk : static_cast<OsdErrc>(answer.error().code.value());
          reply.text = answer ? *answer : answer.error().message;
        });
    turn();
    return reply;
  }
  void make_pool(const std::string& name = "rbd") {
    const auto reply =
        command(R"({"prefix": "pool create", "pool": ")" + name + "\"" + pool_words + "}");
    ASSERT_EQ(reply.error, OsdErrc::kOk) << reply.text;
  }

  // Ops of the Objecter. The error stays kBusy while there is no answer.
  struct Answer {
    std::error_code error = make_error_code(OsdErrc::kBusy);
    std::string data;
    ObjectVersion version;
  };
  std::shared_ptr<Answer> submit(const std::string& object, OpCode code, uint64_t offset,
                                 uint64_t length, const std::string& data = {},
                                 uint16_t flags = objecter::kOpIdempotent) {
    objecter::ObjectOp op;
    op.object = {client->map()->pools.at(0).id, object};
    op.image = 5;
    op.flags = flags;
    SubOp step;
    step.code = code;
    step.offset = offset;
    step.length = length;
    step.data_length = static_cast<uint32_t>(data.size());
    op.steps.push_back(step);
    auto kept = std::make_shared<std::string>(data);
    if (!data.empty()) op.data.push_back(as_const_bytes(*kept));
    auto answer = std::make_shared<Answer>();
    last_tid = client->submit(std::move(op), [kept, answer](objecter::OpReply reply) {
      answer->error = reply.error;
      answer->data = as_text(reply.data);
      answer->version = reply.version;
    });
    return answer;
  }
  std::error_code write(const std::string& object, const std::string& data) {
    const auto answer = submit(object, OpCode::kWrite, 0, data.size(), data);
    turn();
    return answer->error;
  }
  std::string read(const std::string& object, uint64_t length) {
    const auto answer = submit(object, OpCode::kRead, 0, length);
    turn();
    EXPECT_FALSE(answer->error) << answer->error.message();
    return answer->data;
  }
  std::error_code flush(ImageId image = 5) {
    std::error_code result = make_error_code(OsdErrc::kBusy);
    client->flush(client->map()->pools.at(0).id, image, 0,
                  objecter::Objecter::LossHearer::kInitiator,
                  [&](std::error_code error) { result = error; });
    turn();
    return result;
  }

  test::VirtualTime time;
  const Uuid fsid = Uuid::random();
  OsdServerOptions options;
  std::optional<Keyring> keyring;  // of servers and clients, made with keys from now on
  uint64_t throttle_bytes = 0;     // of servers started from now on; 0: as usual
  std::string pool_words;          // further arguments of `pool create`, each after a comma
  std::unique_ptr<msgr::EventCenter> center;
  msgr::LoopbackStack stack;
  std::map<OsdId, Osd> osds;
  std::unique_ptr<objecter::Objecter> client;
  objecter::Tid last_tid = 0;
};

}  // namespace lunar::osd
