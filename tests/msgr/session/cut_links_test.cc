// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "msgr/net/inject_stack.h"
#include "tests/msgr/session/session_fixture.h"

// Eight clients and one server exchange small ops over links that are cut at one frame in fifty:
// when it is sent, when it arrives, and between its front and its data; handshakes are cut alike.
// The order of the cuts follows from the seed alone, as all of it is on one loop in virtual time.

namespace lunar::msgr {
namespace {

constexpr std::size_t kClients = 8;
constexpr uint64_t kWindow = 16;          // ops of one client that have no reply yet
constexpr uint64_t kOpsInShort = 40'000;  // a second or two; LUNAR_TEST_OPS says another number
constexpr uint64_t kFramesPerCut = 50;

uint64_t number_from(const char* variable, uint64_t otherwise) {
  const char* given = std::getenv(variable);
  return given == nullptr ? otherwise : std::stoull(given);
}
// A third of the ops have no data.
std::string data_of(uint64_t client, uint64_t tid) {
  std::string data(tid % 3 == 0 ? 0 : (tid * 37 + client) % 700, 0);
  for (std::size_t i = 0; i < data.size(); ++i) {
    data[i] = static_cast<char>(tid * 31 + client * 101 + i * 7);
  }
  return data;
}
std::string front_of(uint64_t client, uint64_t tid) { return fmt::format("{} {}", client, tid); }

// What one side of one session has received: each number once, in order, undamaged.
struct Sequence {
  uint64_t client = 0;
  uint64_t received = 0;
  void take(const InMessage& message) {
    ++received;
    ASSERT_EQ(message.meta.tid, received) << "of client " << client;
    ASSERT_EQ(as_text(message.front), front_of(client, received));
    ASSERT_EQ(as_text(message.data), data_of(client, received));
  }
};

// Answers each op by its like.
struct EchoServer final : Dispatcher {
  explicit EchoServer(Probe& probe) : probe(probe) {}
  void on_open(Connection& connection) override {
    ++opens;
    const uint64_t client = std::stoull(connection.peer().instance);
    of_session[&connection].client = client;
  }
  void on_message(Connection& connection, InMessage message) override {
    Sequence& sequence = of_session.at(&connection);
    sequence.take(message);
    if (::testing::Test::HasFatalFailure()) return;
    const uint64_t tid = sequence.received;
    connection.send(std::make_unique<ProbeMessage>(probe, meta(tid), front_of(sequence.client, tid),
                                                   data_of(sequence.client, tid)));
    probe.encoded_for.clear();
  }
  void on_reset(Connection&, std::error_code why) override {
    EXPECT_TRUE(is_ending) << "a session of the server ended: " << why.message();
  }
  Probe& probe;
  std::map<Connection*, Sequence> of_session;
  std::size_t opens = 0;
  bool is_ending = false;  // clients may close their sessions
};

struct OpClient final : Dispatcher {
  OpClient(uint64_t number, uint64_t ops, Probe& probe)
      : replies{number, 0}, ops(ops), probe(probe) {}
  void on_open(Connection& connection) override {
    ++opens;
    while (sent < std::min(kWindow, ops)) send_next(connection);
  }
  void on_message(Connection& connection, InMessage message) override {
    replies.take(message);
    if (::testing::Test::HasFatalFailure()) return;
    if (sent < ops) send_next(connection);
  }
  void on_reset(Connection&, std::error_code why) override {
    ADD_FAILURE() << "the session of client " << replies.client << " ended: " << why.message();
  }
  void on_link(Connection&, bool is_up) override { links_lost += is_up ? 0 : 1; }
  void send_next(Connection& connection) {
    ++sent;
    connection.send(std::make_unique<ProbeMessage>(
        probe, meta(sent), front_of(replies.client, sent), data_of(replies.client, sent)));
    probe.encoded_for.clear();
  }
  bool is_done() const { return replies.received == ops; }

  Sequence replies;
  const uint64_t ops;
  Probe& probe;
  uint64_t sent = 0;
  uint64_t links_lost = 0;
  std::size_t opens = 0;
};

class CutLinksTest : public SessionFixture {
 protected:
  MessengerOptions options_of(std::string entity, std::string instance) {
    MessengerOptions options = quick_options(std::move(entity));
    options.instance = std::move(instance);
    return options;
  }
  std::unique_ptr<Messenger> make(MessengerOptions options, NetworkStack& stack,
                                  Dispatcher& dispatcher) {
    auto made =
        Messenger::create(*center_, stack, std::move(options), nullptr, nullptr, &dispatcher);
    EXPECT_TRUE(made.has_value()) << made.error().message;
    return std::move(*made);
  }
  void end(std::unique_ptr<Messenger>& messenger) {
    bool is_done = false;
    messenger->shutdown([&is_done] { is_done = true; });
    EXPECT_TRUE(until([&is_done] { return is_done; })) << "shutdown() never ended";
    messenger.reset();
  }
};

TEST_F(CutLinksTest, NoOpIsLostDoubledOrReorderedOverEightConnections) {
  const uint64_t ops = number_from("LUNAR_TEST_OPS", kOpsInShort);
  const uint64_t seed = number_from("LUNAR_TEST_SEED", 1);
  SCOPED_TRACE(fmt::format("LUNAR_TEST_OPS={} LUNAR_TEST_SEED={}", ops, seed));
  InjectStack stack(stack_, InjectOptions{.socket_failures = kFramesPerCut, .seed = seed});
  EchoServer server(reply_);
  auto listening = make(options_of("osd.0", "server"), stack, server);
  const Address address = *listening->bind(Address::loopback(), Policy::kStatefulServer);

  std::vector<std::unique_ptr<OpClient>> clients;
  std::vector<std::unique_ptr<Messenger>> messengers;
  std::vector<ConnectionRef> connections;
  for (uint64_t i = 0; i < kClients; ++i) {
    clients.push_back(std::make_unique<OpClient>(i, (ops + kClients - 1 - i) / kClients, probe_));
    messengers.push_back(make(options_of("client.a", std::to_string(i)), stack, *clients.back()));
    connections.push_back(messengers.back()->connect(address, Policy::kLosslessClient));
  }
  const auto received = [&] {
    uint64_t sum = 0;
    for (const auto& client : clients) sum += client->replies.received;
    return sum;
  };
  // In steps, so that a session that has stopped is seen soon.
  for (uint64_t before = 0; before < ops && !HasFailure(); before = received()) {
    const uint64_t wanted = std::min(ops, before + 1000);
    ASSERT_TRUE(until([&] { return HasFailure() || received() >= wanted; }))
        << "after " << received() << " replies nothing goes on";
  }
  uint64_t executed = 0, cuts = 0;
  for (const auto& [_, sequence] : server.of_session) executed += sequence.received;
  for (const auto& client : clients) {
    EXPECT_TRUE(client->is_done()) << "client " << client->replies.client;
    EXPECT_EQ(client->opens, 1u) << "client " << client->replies.client;
    cuts += client->links_lost;
  }
  EXPECT_EQ(executed, ops);
  EXPECT_EQ(server.opens, kClients);
  EXPECT_GT(cuts, ops / kFramesPerCut) << "too few links were cut to show anything";
  RecordProperty("ops", std::to_string(executed));
  RecordProperty("cuts", std::to_string(cuts));
  if (std::getenv("LUNAR_TEST_OPS") != nullptr) {
    fmt::print(
        "{} ops over {} connections, {} links cut, seed {}: none lost, doubled or reordered\n",
        executed, kClients, cuts, seed);
  }
  server.is_ending = true;
  for (auto& messenger : messengers) end(messenger);
  end(listening);
  settle();
  EXPECT_EQ(probe_.alive + reply_.alive, 0) << "messages that were acknowledged are kept";
}

}  // namespace
}  // namespace lunar::msgr
