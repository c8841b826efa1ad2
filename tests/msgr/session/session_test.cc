// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session.h"

#include <gmock/gmock.h>

#include "tests/msgr/session/session_fixture.h"
#include "tests/support/counter_in.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;
using ::testing::ElementsAre;

class SessionTest : public SessionFixture {
 protected:
  // A server, a client that is connected to it, and their connections.
  void open(Policy accepted = Policy::kStatefulServer, Policy policy = Policy::kLosslessClient) {
    open(quick_options("osd.0"), quick_options("client.a"), accepted, policy);
  }
  void open(MessengerOptions server, MessengerOptions client,
            Policy accepted = Policy::kStatefulServer, Policy policy = Policy::kLosslessClient) {
    server_ = &add_node(std::move(server));
    address_ = *server_->messenger->bind(Address::loopback(), accepted);
    client_ = &add_node(std::move(client));
    connection_ = client_->messenger->connect(address_, policy);
    ASSERT_TRUE(until([&] { return client_->events.opens == 1 && server_->events.opens == 1; }));
  }
  Connection& accepted() { return *server_->events.last; }
  std::vector<uint64_t> server_tids() const {
    std::vector<uint64_t> tids;
    for (const auto& received : server_->events.received) tids.push_back(received.tid);
    return tids;
  }
  bool server_has(std::size_t messages) {
    return until([&] { return server_->events.received.size() >= messages; });
  }
  uint64_t counter(Node& node, const std::string& name) {
    const auto value = test::counter_in(node.perf.dump(), name);
    EXPECT_TRUE(value) << name;
    return value.value_or(0);
  }
  // Every link of the network breaks at its next send.
  void cut_link() {
    const int down = client_->events.links_down;
    injector_.cut_next_send = true;
    send(*connection_, 999, "cut");
    ASSERT_TRUE(until([&] { return client_->events.links_down > down; }));
  }

  Node* server_ = nullptr;
  Node* client_ = nullptr;
  ConnectionRef connection_;
};

TEST_F(SessionTest, OpensOnBothSidesAndSaysWhoIsThere) {
  open();
  EXPECT_TRUE(connection_->is_open());
  EXPECT_TRUE(connection_->has_link());
  EXPECT_EQ(connection_->peer().entity, "osd.0");
  EXPECT_EQ(connection_->target(), address_);
  EXPECT_EQ(accepted().peer().entity, "client.a");
  EXPECT_EQ(accepted().peer().instance, "test");
  EXPECT_NE(accepted().peer().nonce, 0u);
  EXPECT_FALSE(accepted().peer().is_authenticated);
  EXPECT_TRUE(accepted().target().is_unset());
  EXPECT_EQ(client_->events.links_up, 1);
}

TEST_F(SessionTest, CarriesMessagesBothWaysWithDataAndMeta) {
  open();
  connection_->send(std::make_unique<ProbeMessage>(probe_, MessageMeta{7, Priority::kHigh, 3, 4},
                                                   "front", std::string(100'000, 'd')));
  server_->events.when_message = [](Connection& from, InMessage& message) {
    EXPECT_EQ(message.meta.type, 7);
    EXPECT_EQ(message.meta.priority, Priority::kHigh);
    EXPECT_EQ(message.meta.trace_id, 4u);
    send(from, message.meta.tid, "reply");
  };
  ASSERT_TRUE(until([&] { return client_->events.received.size() == 1; }));
  EXPECT_EQ(server_->events.received[0].front, "front");
  EXPECT_EQ(server_->events.received[0].data, std::string(100'000, 'd'));
  EXPECT_EQ(client_->events.received[0].tid, 3u);
  EXPECT_EQ(client_->events.received[0].front, "reply");
  EXPECT_TRUE(until([&] { return probe_.alive == 0; })) << "it was never acknowledged";
}

TEST_F(SessionTest, WorksOverIpv6) {
  server_ = &add_node(quick_options("osd.0"));
  address_ = *server_->messenger->bind(*Address::parse("[::1]:0"), Policy::kStatefulServer);
  client_ = &add_node(quick_options("client.a"));
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  send(*connection_, 1, "six");
  ASSERT_TRUE(server_has(1));
  EXPECT_TRUE(accepted().peer().address.is_ipv6());
}

TEST_F(SessionTest, SendsWhatWasQueuedBeforeItOpenedByPriority) {
  server_ = &add_server();
  client_ = &add_node(quick_options("client.a"));
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  send(*connection_, 1, "", Priority::kLow);
  send(*connection_, 2, "");
  send(*connection_, 3, "");
  send(*connection_, 4, "", Priority::kHighest);
  ASSERT_TRUE(server_has(4));
  EXPECT_THAT(server_tids(), ElementsAre(4, 2, 3, 1));
}

TEST_F(SessionTest, EncodesNoMoreThanTheLinkTakesSoThatPriorityStillCounts) {
  open();
  for (uint64_t tid = 1; tid <= 20; ++tid) {
    connection_->send(
        std::make_unique<ProbeMessage>(probe_, meta(tid), "", std::string(100'000, 'x')));
  }
  EXPECT_LT(probe_.encoded_for.size(), 10u);
  send(*connection_, 99, "urgent", Priority::kHighest);
  ASSERT_TRUE(server_has(21));
  const auto tids = server_tids();
  EXPECT_LT(std::find(tids.begin(), tids.end(), 99) - tids.begin(), 10);
}

TEST_F(SessionTest, GivesTheSameConnectionForTheSameAddressUntilItIsClosed) {
  open();
  EXPECT_EQ(client_->messenger->connect(address_, Policy::kLosslessClient), connection_);
  connection_->close();
  EXPECT_NE(client_->messenger->connect(address_, Policy::kLosslessClient), connection_);
}

TEST_F(SessionTest, TriesAgainUntilThereIsAServer) {
  client_ = &add_node(quick_options("client.a"));
  address_ = *Address::parse("127.0.0.1:7001");
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  send(*connection_, 1, "early");
  ASSERT_TRUE(until([&] { return injector_.connects >= 3; }));
  EXPECT_EQ(client_->events.opens, 0);
  EXPECT_TRUE(client_->events.resets.empty());
  server_ = &add_node(quick_options("osd.0"));
  ASSERT_TRUE(server_->messenger->bind(address_, Policy::kStatefulServer).has_value());
  EXPECT_TRUE(server_has(1));
}

// --- acknowledgements and replay ---

TEST_F(SessionTest, ReplaysOnceWhatALostLinkMayNotHaveDelivered) {
  open();
  for (uint64_t tid = 1; tid <= 3; ++tid) send(*connection_, tid, "");
  ASSERT_TRUE(server_has(3));
  injector_.cut_next_send = true;
  for (uint64_t tid = 4; tid <= 9; ++tid) send(*connection_, tid, std::string(1000, 'x'));
  ASSERT_TRUE(server_has(9));
  settle();
  EXPECT_THAT(server_tids(), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
  EXPECT_TRUE(client_->events.resets.empty());
  EXPECT_EQ(client_->events.opens, 1);
  EXPECT_EQ(client_->events.links_up, 2);
  EXPECT_EQ(server_->events.opens, 1);
  EXPECT_EQ(counter(*client_, "reconnects"), 1u);
}

TEST_F(SessionTest, EncodesAMessageAgainForEachLink) {
  open();
  injector_.cut_next_send = true;
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), "front"));
  ASSERT_TRUE(server_has(1));
  ASSERT_EQ(probe_.encoded_for.size(), 2u);
  EXPECT_LT(probe_.encoded_for[0], probe_.encoded_for[1]);
  EXPECT_TRUE(until([&] { return probe_.alive == 0; }));
}

TEST_F(SessionTest, OneWayTrafficIsAcknowledgedByFrames) {
  open();
  for (uint64_t tid = 1; tid <= 100; ++tid) {
    connection_->send(std::make_unique<ProbeMessage>(probe_, meta(tid), "x"));
  }
  ASSERT_TRUE(until([&] { return probe_.alive == 0; }));
  EXPECT_GE(counter(*server_, "acks_out"), 3u) << "one in 32 messages, and a last one";
  EXPECT_LE(counter(*server_, "acks_out"), 10u);
}

TEST_F(SessionTest, AServerKeepsItsMessagesForAClientThatComesBack) {
  open();
  Connection& to_client = accepted();
  injector_.refuse[address_] = true;
  cut_link();
  ASSERT_TRUE(until([&] { return server_->events.links_down == 1; }));
  for (uint64_t tid = 1; tid <= 3; ++tid) send(to_client, tid, "later");
  EXPECT_TRUE(to_client.is_open());
  EXPECT_FALSE(to_client.has_link());
  injector_.refuse.clear();
  ASSERT_TRUE(until([&] { return client_->events.received.size() == 3; }));
  EXPECT_TRUE(server_->events.resets.empty());
}

// --- resets ---

TEST_F(SessionTest, AServerThatStartedAnewResetsTheSession) {
  MessengerOptions client = quick_options("client.a");
  client.keepalive_interval = 5ms;
  client.keepalive_timeout = 50ms;
  open(quick_options("osd.0"), client);
  injector_.black_hole = true;  // it dies silently
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), "lost"));
  shut_down(*server_);
  injector_.black_hole = false;
  server_ = &add_node(quick_options("osd.0"));
  ASSERT_TRUE(server_->messenger->bind(address_, Policy::kStatefulServer).has_value());
  ASSERT_TRUE(until([&] { return client_->events.opens == 2; }));
  EXPECT_THAT(client_->events.resets, ElementsAre(make_error_code(MsgrErrc::kSessionReset)));
  EXPECT_EQ(probe_.alive, 0);
  send(*connection_, 2, "anew");
  ASSERT_TRUE(server_has(1));
  EXPECT_THAT(server_tids(), ElementsAre(2)) << "what was lost is the caller's business";
}

TEST_F(SessionTest, MessagesBetweenAResetAndTheNextSessionAreDropped) {
  open();
  client_->events.when_reset = [&](Connection& connection, std::error_code) {
    connection.send(std::make_unique<ProbeMessage>(probe_, meta(5), "dropped"));
  };
  accepted().close();
  ASSERT_TRUE(until([&] { return client_->events.opens == 2; }));
  send(*connection_, 6, "");
  ASSERT_TRUE(server_has(1));
  EXPECT_THAT(server_tids(), ElementsAre(6));
  EXPECT_EQ(probe_.alive, 0);
}

TEST_F(SessionTest, ALossyClientIsResetByALostLink) {
  open(Policy::kStatefulServer, Policy::kLossyClient);
  injector_.cut_next_send = true;
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), "lost"));
  ASSERT_TRUE(until([&] { return client_->events.opens == 2; }));
  EXPECT_EQ(client_->events.resets.size(), 1u);
  EXPECT_TRUE(until([&] { return server_->events.resets.size() == 1; }));
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_TRUE(server_->events.received.empty());
}

TEST_F(SessionTest, AStatelessServerMakesItsSessionsLossy) {
  open(Policy::kStatelessServer);
  cut_link();
  ASSERT_TRUE(until([&] { return client_->events.opens == 2 && server_->events.opens == 2; }));
  EXPECT_EQ(client_->events.resets.size(), 1u);
  EXPECT_EQ(server_->events.resets.size(), 1u);
}

TEST_F(SessionTest, AServerForgetsAClientThatStaysAway) {
  MessengerOptions server = quick_options("osd.0");
  server.session_timeout = 500ms;
  open(server, quick_options("client.a"));
  injector_.refuse[address_] = true;
  cut_link();
  ASSERT_TRUE(until([&] { return server_->events.links_down == 1; }));
  accepted().send(std::make_unique<ProbeMessage>(probe_, meta(1), "kept for a while"));
  ASSERT_TRUE(until([&] { return server_->events.resets.size() == 1; }));
  EXPECT_EQ(server_->events.resets[0], make_error_code(MsgrErrc::kTimedOut));
  settle();
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_TRUE(server_->messenger->connections().empty());
  injector_.refuse.clear();
  ASSERT_TRUE(until([&] { return client_->events.opens == 2; }));
  EXPECT_THAT(client_->events.resets, ElementsAre(make_error_code(MsgrErrc::kSessionReset)));
}

TEST_F(SessionTest, AnIdleClientIsLetGo) {
  MessengerOptions server = quick_options("osd.0");
  server.keepalive_interval = 5ms;
  server.connection_idle_timeout = 40ms;
  open(server, quick_options("client.a"));
  ASSERT_TRUE(until([&] { return server_->events.resets.size() == 1; }));
  EXPECT_EQ(server_->events.resets[0], make_error_code(MsgrErrc::kTimedOut));
  ASSERT_TRUE(until([&] { return client_->events.resets.size() >= 1; }));
  EXPECT_EQ(client_->events.resets[0], make_error_code(MsgrErrc::kClosedByPeer));
}

// --- close ---

TEST_F(SessionTest, CloseTellsThePeerAndTheDispatcherHereOnce) {
  open();
  accepted().send(std::make_unique<ProbeMessage>(probe_, meta(1), "", std::string(1 << 20, 'x')));
  connection_->close();
  EXPECT_FALSE(connection_->is_open());
  ASSERT_TRUE(until([&] { return server_->events.resets.size() == 1; }));
  EXPECT_EQ(server_->events.resets[0], make_error_code(MsgrErrc::kClosedByPeer));
  settle();
  EXPECT_THAT(client_->events.resets, ElementsAre(make_error_code(MsgrErrc::kClosed)));
  EXPECT_TRUE(client_->events.received.empty());
  EXPECT_EQ(client_->events.links_down, 0);
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_TRUE(client_->messenger->connections().empty());
}

TEST_F(SessionTest, AClosedConnectionLivesUntilItsResetWasHeard) {
  open();
  std::weak_ptr<Connection> weak = accepted().weak_from_this();
  bool was_alive = false;
  server_->events.when_reset = [&](Connection& connection, std::error_code why) {
    EXPECT_EQ(why, make_error_code(MsgrErrc::kClosed));
    was_alive = weak.lock().get() == &connection;
  };
  accepted().close();
  EXPECT_TRUE(server_->events.resets.empty()) << "not inside close()";
  ASSERT_TRUE(until([&] { return weak.expired(); }));
  EXPECT_TRUE(was_alive);
  EXPECT_EQ(server_->events.resets.size(), 1u);
}

TEST_F(SessionTest, CloseWithoutALinkIsToldToo) {
  open();
  injector_.refuse[address_] = true;
  cut_link();
  ASSERT_TRUE(until([&] { return server_->events.links_down == 1; }));
  accepted().close();
  ASSERT_TRUE(until([&] { return server_->events.resets.size() == 1; }));
  EXPECT_EQ(server_->events.resets[0], make_error_code(MsgrErrc::kClosed));
  injector_.refuse.clear();
}

TEST_F(SessionTest, CloseOfWhatWasNeverOpenIsSilent) {
  client_ = &add_node(quick_options("client.a"));
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  connection_->close();
  settle();
  EXPECT_TRUE(client_->messenger->connections().empty());
  EXPECT_TRUE(client_->events.resets.empty());
}

TEST_F(SessionTest, ShutdownIsSilentAboutWhatWasJustClosed) {
  open();
  accepted().close();
  shut_down(*server_);
  EXPECT_TRUE(server_->events.resets.empty());
}

TEST_F(SessionTest, MayBeClosedInEveryCallback) {
  server_ = &add_server();
  client_ = &add_node(quick_options("client.a"));
  client_->events.when_open = [](Connection& connection) { connection.close(); };
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return server_->events.resets.size() == 1; }));

  client_->events.when_open = nullptr;
  client_->events.when_message = [](Connection& connection, InMessage&) { connection.close(); };
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return server_->events.opens == 2; }));
  send(accepted(), 1, "one");
  send(accepted(), 2, "two");
  ASSERT_TRUE(until([&] { return server_->events.resets.size() == 2; }));
  EXPECT_EQ(client_->events.received.size(), 1u);

  client_->events.when_reset = [](Connection& connection, std::error_code) { connection.close(); };
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return server_->events.opens == 3; }));
  accepted().close();
  ASSERT_TRUE(until([&] { return client_->messenger->connections().empty(); }));
}

TEST_F(SessionTest, AClosedConnectionTakesCallsAndDropsThem) {
  open();
  connection_->close();
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), ""));
  bool withdrawn = false;
  connection_->withdraw(1, [&] { withdrawn = true; });
  EXPECT_FALSE(withdrawn);
  connection_->close();
  settle();
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_TRUE(withdrawn);
  shut_down(*client_);
  send(*connection_, 2, "after the messenger");
  settle();
}

// --- signs of life ---

TEST_F(SessionTest, ALinkWithoutASignOfLifeIsReplaced) {
  MessengerOptions client = quick_options("client.a");
  client.keepalive_interval = 5ms;
  client.keepalive_timeout = 30ms;
  client.connection_ready_timeout = 50ms;
  open(quick_options("osd.0"), client);
  injector_.black_hole = true;
  send(*connection_, 1, "swallowed");
  ASSERT_TRUE(until([&] { return client_->events.links_down == 1; }));
  EXPECT_EQ(counter(*client_, "keepalive_timeouts"), 1u);
  injector_.black_hole = false;
  ASSERT_TRUE(server_has(1));
  EXPECT_TRUE(client_->events.resets.empty());
  EXPECT_THAT(server_tids(), ElementsAre(1));
}

TEST_F(SessionTest, KeepalivesKeepAQuietLinkAndMeasureIt) {
  MessengerOptions client = quick_options("client.a");
  client.keepalive_interval = 5ms;
  client.keepalive_timeout = 1s;
  open(quick_options("osd.0"), client);
  ASSERT_TRUE(until([&] {
    return client_->perf.prometheus().find(
               "lunar_msgr_keepalive_rtt_seconds_count{group=\"msgr\"} 0") == std::string::npos;
  }));
  EXPECT_EQ(client_->events.links_down, 0);
}

// --- throttle ---

TEST_F(SessionTest, ReadsNoMoreWhileTheDispatcherHoldsTooMuch) {
  MessengerOptions server = quick_options("osd.0");
  server.dispatch_throttle_bytes = 100'000;
  MessengerOptions client = quick_options("client.a");
  client.keepalive_interval = 5ms;
  client.keepalive_timeout = 500ms;
  server.keepalive_interval = 5ms;
  server.keepalive_timeout = 500ms;
  open(server, client);
  server_->events.keep_messages = true;
  for (uint64_t tid = 1; tid <= 30; ++tid) {
    connection_->send(
        std::make_unique<ProbeMessage>(probe_, meta(tid), "", std::string(40'000, 'x')));
  }
  ASSERT_TRUE(server_has(3));
  // Longer than the keepalive timeout, which must not end the link on either side.
  pass(1200ms);
  EXPECT_LE(server_->events.received.size(), 4u);
  EXPECT_EQ(client_->events.links_down + server_->events.links_down, 0);
  EXPECT_EQ(counter(*server_, "throttle_waits"), 1u);
  server_->events.keep_messages = false;
  server_->events.kept.clear();
  ASSERT_TRUE(server_has(30));
  EXPECT_EQ(server_->events.received.back().tid, 30u);
}

TEST_F(SessionTest, MessagesWithoutDataPassTheThrottle) {
  MessengerOptions server = quick_options("osd.0");
  server.dispatch_throttle_bytes = 10'000;
  open(server, quick_options("client.a"));
  Node& other = add_node(quick_options("client.b"));
  const ConnectionRef second = other.messenger->connect(address_, Policy::kLosslessClient);
  server_->events.keep_messages = true;
  const auto data = [&](uint64_t tid) {
    return std::make_unique<ProbeMessage>(probe_, meta(tid), "", std::string(20'000, 'x'));
  };
  connection_->send(data(1));
  ASSERT_TRUE(server_has(1));
  send(*connection_, 2, "a cancel");
  send(*second, 3, "a map");
  ASSERT_TRUE(server_has(3)) << "it may be what ends the wait";
  accepted().send(std::make_unique<ProbeMessage>(reply_, meta(6), "to a client"));
  EXPECT_TRUE(until([&] { return reply_.alive == 0; })) << "it was not acknowledged";
  connection_->send(data(4));
  second->send(data(5));
  settle();
  EXPECT_EQ(server_->events.received.size(), 3u);
  server_->events.kept.clear();
  ASSERT_TRUE(server_has(4));
  server_->events.keep_messages = false;
  server_->events.kept.clear();
  ASSERT_TRUE(server_has(5));
}

TEST_F(SessionTest, DataThatTheDispatcherPlacedIsNotThrottled) {
  MessengerOptions server = quick_options("osd.0");
  server.dispatch_throttle_bytes = 1000;
  open(server, quick_options("client.a"));
  std::vector<std::byte> memory(50'000);
  server_->events.place = [&](const MessageMeta&, std::size_t bytes) {
    return Bytes(memory).first(bytes);
  };
  server_->events.keep_messages = true;
  for (uint64_t tid = 1; tid <= 5; ++tid) {
    connection_->send(
        std::make_unique<ProbeMessage>(probe_, meta(tid), "", std::string(50'000, 'y')));
  }
  ASSERT_TRUE(server_has(5));
  EXPECT_EQ(as_text(memory), std::string(50'000, 'y'));
}

TEST_F(SessionTest, ASessionWhosePeerTakesNoMessagesIsClosed) {
  MessengerOptions server = quick_options("osd.0");
  server.max_unread_messages = 100;
  open(server, quick_options("client.a"));
  injector_.black_hole = true;
  for (uint64_t tid = 1; tid <= 101; ++tid)
    accepted().send(std::make_unique<ProbeMessage>(reply_, meta(tid), "a reply"));
  EXPECT_TRUE(until([&] { return server_->events.resets.size() == 1; }));
  EXPECT_EQ(server_->events.resets[0], MsgrErrc::kClosed);
  EXPECT_EQ(counter(*server_, "sessions_refused"), 1u);
}

TEST_F(SessionTest, OneConnectionCannotTakeTheMemoryOfTheNext) {
  MessengerOptions server = quick_options("osd.0");
  server.dispatch_throttle_bytes = 100'000;
  open(server, quick_options("client.a"));
  MessengerOptions same = quick_options("client.a");
  same.instance = "another";
  const ConnectionRef second = add_node(same).messenger->connect(address_, Policy::kLosslessClient);
  server_->events.keep_messages = true;
  for (uint64_t tid = 1; tid <= 30; ++tid)
    connection_->send(
        std::make_unique<ProbeMessage>(probe_, meta(tid), "", std::string(40'000, 'x')));
  ASSERT_TRUE(until([&] { return counter(*server_, "throttle_waits") == 1; }));
  const std::size_t before = server_->events.received.size();
  second->send(std::make_unique<ProbeMessage>(probe_, meta(99), "", std::string(20'000, 'y')));
  ASSERT_TRUE(until([&] { return server_->events.received.size() > before; }));
  EXPECT_EQ(server_->events.received.back().tid, 99u);
  server_->events.keep_messages = false;
}

// --- payload ---

TEST_F(SessionTest, MessagesLetGoOfTheirPayloadWhenTheLinkIsThroughWithIt) {
  struct Releasing final : OutMessage {
    explicit Releasing(std::vector<uint64_t>& released_tids, uint64_t tid)
        : OutMessage(lunar::msgr::meta(tid)), released(released_tids) {}
    void encode(Link&, uint64_t, EncodedMessage& out) override {
      out.front.assign(2000, std::byte{1});
    }
    void release_payload() noexcept override { released.push_back(meta().tid); }
    std::vector<uint64_t>& released;
  };
  std::vector<uint64_t> released;
  MessengerOptions client = quick_options("client.a");
  client.keepalive_interval = 5ms;
  client.keepalive_timeout = 300ms;
  MessengerOptions server = quick_options("osd.0");
  server.keepalive_interval = 5ms;
  open(server, client);
  injector_.refuse[address_] = true;
  connection_->send(std::make_unique<Releasing>(released, 1));
  ASSERT_TRUE(server_has(1));
  ASSERT_FALSE(released.empty());
  EXPECT_EQ(released.front(), 1u) << "the transport has it";
  released.clear();
  cut_link();
  connection_->send(std::make_unique<Releasing>(released, 2));
  injector_.refuse.clear();
  ASSERT_TRUE(server_has(3));
  released.clear();
  injector_.refuse[address_] = true;
  injector_.black_hole = true;
  for (uint64_t tid = 3; tid <= 5; ++tid)
    connection_->send(std::make_unique<Releasing>(released, tid));
  settle();
  EXPECT_THAT(released, ElementsAre());
  ASSERT_TRUE(until([&] { return client_->events.links_down == 2; }));
  injector_.black_hole = false;
  for (uint64_t tid = 3; tid <= 5; ++tid)
    EXPECT_GE(std::count(released.begin(), released.end(), tid), 1) << tid;
}

// --- many ---

TEST_F(SessionTest, AClientThatConnectsWhileItsOldLinkSeemsAliveTakesOver) {
  MessengerOptions client = quick_options("client.a");
  client.keepalive_interval = 5ms;
  client.keepalive_timeout = 20ms;
  open(quick_options("osd.0"), client);
  // Only the client notices: its server never sends, and waits for nobody.
  injector_.black_hole = true;
  ASSERT_TRUE(until([&] { return client_->events.links_down == 1; }));
  injector_.black_hole = false;
  send(*connection_, 1, "over the new link");
  ASSERT_TRUE(server_has(1));
  EXPECT_EQ(server_->events.opens, 1);
  EXPECT_EQ(server_->messenger->connections().size(), 1u);
}

TEST_F(SessionTest, ServesManyClientsAndEndsThemAllAtShutdown) {
  server_ = &add_server();
  constexpr int kClients = 50;
  std::vector<Node*> clients;
  for (int i = 0; i < kClients; ++i) {
    clients.push_back(&add_node(quick_options("client." + std::to_string(i))));
    send(*clients.back()->messenger->connect(address_, Policy::kLosslessClient),
         static_cast<uint64_t>(i), "hello");
  }
  ASSERT_TRUE(server_has(kClients));
  EXPECT_EQ(server_->messenger->connections().size(), static_cast<std::size_t>(kClients));
  shut_down(*server_);
  ASSERT_TRUE(until([&] {
    return std::all_of(clients.begin(), clients.end(), [](Node* node) {
      return node->events.resets.size() == 1 &&
             node->events.resets[0] == make_error_code(MsgrErrc::kClosedByPeer);
    });
  }));
}

}  // namespace
}  // namespace lunar::msgr
