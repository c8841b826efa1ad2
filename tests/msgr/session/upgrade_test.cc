// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/upgrade.h"

#include <gmock/gmock.h>

#include "msgr/net/inject_stack.h"
#include "tests/msgr/session/fast_stack.h"
#include "tests/msgr/session/raw_peer.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class UpgradeTest : public SessionFixture {
 protected:
  UpgradeTest() : fast_(*center_), ours_(stack_, fast_), theirs_(stack_, fast_) {}
  ~UpgradeTest() override {
    fast_.injector.black_hole = false;
    for (auto& node : nodes_) shut_down(*node);
    nodes_.clear();
    EXPECT_THAT(fast_.for_connector, IsEmpty()) << "an end of a fast link was left over";
    EXPECT_EQ(fast_.network.buffers().bytes_in_use(), 0u);
  }

  Node& add_node_on(NetworkStack& stack, MessengerOptions options,
                    const Keyring* keyring = nullptr) {
    auto node = std::make_unique<Node>();
    auto made =
        Messenger::create(*center_, stack, std::move(options), keyring, &node->perf, &node->events);
    EXPECT_TRUE(made.has_value());
    node->messenger = std::move(*made);
    nodes_.push_back(std::move(node));
    return *nodes_.back();
  }
  void begin(NetworkStack& server_stack, NetworkStack& client_stack) {
    server_ = &add_node_on(server_stack, quick_options("osd.0"));
    server_->events.when_message = [](Connection& from, InMessage& message) {
      send(from, message.meta.tid, "reply");
    };
    address_ = *server_->messenger->bind(Address::loopback(), Policy::kStatefulServer);
    client_ = &add_node_on(client_stack, quick_options("client.a"));
    connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  }
  void begin() { begin(theirs_, ours_); }
  bool echo(uint64_t tid) {
    send(*connection_, tid, "request");
    const std::size_t before = client_->events.received.size();
    return until([&] { return client_->events.received.size() > before; });
  }
  static std::vector<std::string> sentences(const FastStack& stack) {
    std::vector<std::string> all;
    for (const Error& error : stack.stayed) all.push_back(error.message);
    return all;
  }

  Fast fast_;
  FastStack ours_;    // the connector's
  FastStack theirs_;  // the acceptor's
  Node* server_ = nullptr;
  Node* client_ = nullptr;
  ConnectionRef connection_;
};

TEST_F(UpgradeTest, MessagesTravelByTheFasterLinkOnly) {
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded, 1);
  EXPECT_EQ(theirs_.succeeded, 1);
  EXPECT_THAT(ours_.stayed, IsEmpty());
  EXPECT_THAT(theirs_.stayed, IsEmpty());
  settle();
  injector_.cut_next_send = true;  // whoever sends on the old network
  for (uint64_t tid = 2; tid < 10; ++tid) ASSERT_TRUE(echo(tid));
  EXPECT_TRUE(injector_.cut_next_send);
  injector_.cut_next_send = false;
}

TEST_F(UpgradeTest, ALinkThatTheConnectorMakesIsAwaitedOnceItWasAnswered) {
  ours_.connector_makes_links = theirs_.connector_makes_links = true;
  begin();
  for (uint64_t tid = 1; tid < 10; ++tid) {
    fast_.injector.cut_next_send = tid % 3 == 0;
    ASSERT_TRUE(echo(tid)) << tid;
  }
  EXPECT_GE(ours_.succeeded, 3);
  EXPECT_EQ(server_->events.received.size(), 9u);
}

TEST_F(UpgradeTest, ALinkThatTheConnectorCannotMakeLeavesTheOldOneInUse) {
  ours_.connector_makes_links = theirs_.connector_makes_links = true;
  ours_.refuse_complete = std::make_error_code(std::errc::network_unreachable);
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded + theirs_.succeeded, 0);
  EXPECT_EQ(ours_.stayed.size(), 1u);
  EXPECT_THAT(sentences(theirs_), Contains(HasSubstr("went back to the old link")));
  fast_.deliver = nullptr;
}

TEST_F(UpgradeTest, ASecureLinkStaysWhereTlsIs) {
  Keyring keyring;
  keyring.generate({"client", "a"});
  const auto secure_options = [](std::string entity) {
    MessengerOptions options = quick_options(std::move(entity));
    options.modes.client = *WireModes::parse("secure");
    return options;
  };
  server_ = &add_node_on(theirs_, secure_options("osd.0"), &keyring);
  server_->events.when_message = [](Connection& from, InMessage& message) {
    EXPECT_FALSE(from.link_capabilities().one_sided);
    send(from, message.meta.tid, "reply");
  };
  address_ = *server_->messenger->bind(Address::loopback(), Policy::kStatefulServer);
  client_ = &add_node_on(ours_, secure_options("client.a"), &keyring);
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded + theirs_.succeeded, 0);
  EXPECT_THAT(sentences(ours_), Contains("a secure link stays on TCP"));
  EXPECT_THAT(sentences(theirs_), Contains("a secure link stays on TCP"));
  for (Node* node : {client_, server_}) shut_down(*node);  // before the keyring goes
}

TEST_F(UpgradeTest, ARefusalByTheAcceptorLeavesTheOldLinkInUse) {
  theirs_.refuse_prepare = std::make_error_code(std::errc::no_such_device);
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded + theirs_.succeeded, 0);
  EXPECT_THAT(sentences(ours_), Contains(HasSubstr("no device for you")));
  EXPECT_THAT(sentences(theirs_), Contains(HasSubstr("no device for you")));
}

TEST_F(UpgradeTest, AnAcceptorThatCannotCompleteRefuses) {
  theirs_.refuse_complete = std::make_error_code(std::errc::not_enough_memory);
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.stayed.size(), 1u);
  EXPECT_EQ(theirs_.stayed.size(), 1u);
}

TEST_F(UpgradeTest, AConnectorThatCannotPrepareOffersNothing) {
  ours_.refuse_prepare = std::make_error_code(std::errc::no_such_device);
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_THAT(sentences(ours_), Contains("no device for you"));
  EXPECT_EQ(theirs_.stayed.size(), 1u);
}

TEST_F(UpgradeTest, AConnectorThatCannotCompleteGoesBack) {
  ours_.refuse_complete = std::make_error_code(std::errc::network_unreachable);
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.stayed.size(), 1u);
  EXPECT_EQ(theirs_.stayed.size(), 1u);
  fast_.for_connector.clear();  // the end that was never taken
}

TEST_F(UpgradeTest, ANewLinkThatCarriesNothingInTimeIsGivenUp) {
  ours_.time_limit = 30ms;
  fast_.injector.black_hole = true;
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded + theirs_.succeeded, 0);
  EXPECT_THAT(sentences(ours_), Contains(HasSubstr("in time")));
}

TEST_F(UpgradeTest, ANewLinkThatBreaksBeforeItIsProvenIsGivenUp) {
  fast_.injector.cut_next_send = true;
  begin();
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded + theirs_.succeeded, 0);
}

TEST_F(UpgradeTest, WithoutFallBackThereIsNoSessionOverTheOldLink) {
  ours_.may_stay = false;
  theirs_.refuse_prepare = std::make_error_code(std::errc::no_such_device);
  begin();
  ASSERT_TRUE(until([&] { return ours_.stayed.size() >= 3; })) << "it goes on trying";
  EXPECT_EQ(client_->events.opens, 0);
  theirs_.refuse_prepare = {};
  EXPECT_TRUE(echo(1)) << "until it works";
  EXPECT_EQ(ours_.succeeded, 1);
}

TEST_F(UpgradeTest, AnAcceptorWithoutFallBackRefusesThoseWhoDoNotOffer) {
  theirs_.may_stay = false;
  begin(theirs_, stack_);
  ASSERT_TRUE(until([&] { return theirs_.stayed.size() >= 2; }));
  EXPECT_EQ(theirs_.stayed[0].code, MsgrErrc::kFeatureMismatch);
  EXPECT_EQ(client_->events.opens, 0);
}

TEST_F(UpgradeTest, APeerWithoutTheFeatureIsTalkedToAsEver) {
  begin(stack_, ours_);
  ASSERT_TRUE(echo(1));
  ASSERT_EQ(ours_.stayed.size(), 1u);
  EXPECT_EQ(ours_.stayed[0].code, MsgrErrc::kFeatureMismatch);
}

TEST_F(UpgradeTest, AReconnectUpgradesAgainAndReplaysExactlyOnce) {
  begin();
  ASSERT_TRUE(echo(1));
  for (uint64_t tid = 2; tid < 12; ++tid) {
    fast_.injector.cut_next_send = true;
    ASSERT_TRUE(echo(tid)) << tid;
  }
  EXPECT_GE(ours_.succeeded, 5);
  ASSERT_EQ(server_->events.received.size(), 11u);
  for (uint64_t tid = 1; tid < 12; ++tid) {
    EXPECT_EQ(server_->events.received[tid - 1].tid, tid);
    EXPECT_EQ(client_->events.received[tid - 1].tid, tid);
  }
  EXPECT_THAT(client_->events.resets, IsEmpty());
}

TEST_F(UpgradeTest, AnOldLinkLostInTheMiddleIsAFailedConnect) {
  theirs_.never_prepares = true;
  theirs_.time_limit = 20ms;  // then it refuses, into a link that breaks
  begin();
  ASSERT_TRUE(until([&] { return fast_.next == 2; }));
  settle();
  injector_.cut_next_send = true;
  ASSERT_TRUE(until([&] { return !injector_.cut_next_send; }));
  theirs_.never_prepares = false;
  ASSERT_TRUE(echo(1));
  EXPECT_EQ(ours_.succeeded, 1);
  EXPECT_THAT(ours_.stayed, IsEmpty());
}

TEST_F(UpgradeTest, ShutdownDoesNotWaitForAnUpgrade) {
  ours_.never_prepares = true;
  theirs_.never_prepares = true;
  ours_.time_limit = 3'600'000ms;
  begin();
  ASSERT_TRUE(until([&] { return server_->events.opens == 0 && injector_.connects == 1; }));
  settle();
  shut_down(*client_);
  shut_down(*server_);
}

TEST_F(UpgradeTest, InjectedFaultsReachTheFasterLinkToo) {
  InjectOptions faults;
  faults.socket_failures = 12;
  faults.seed = 5;
  InjectStack inject(ours_, faults);
  begin(theirs_, inject);
  for (uint64_t tid = 1; tid <= 40; ++tid) ASSERT_TRUE(echo(tid)) << tid;
  EXPECT_EQ(server_->events.received.size(), 40u);
  EXPECT_GT(client_->events.links_down, 0);
  EXPECT_GT(ours_.succeeded, 1);
  shut_down(*client_);  // before its stack
  shut_down(*server_);
}

// --- an acceptor, and a peer that breaks the rules ---

class UpgradeRawTest : public UpgradeTest {
 protected:
  void greet() {
    server_ = &add_node_on(theirs_, quick_options("osd.0"));
    address_ = *server_->messenger->bind(Address::loopback(), Policy::kStatefulServer);
    peer_.connect(stack_, *center_, address_);
    ASSERT_TRUE(until([&] { return peer_.is_connected(); }));
    Hello hello;
    hello.features_supported |= kFeatureRdma;
    hello.entity = "client.raw";
    hello.instance = "raw";
    peer_.send(FrameTag::kHello, hello.encode());
    ASSERT_TRUE(until([&] { return peer_.has(FrameTag::kHello); }));
    const auto said = Hello::decode(peer_.find(FrameTag::kHello)->front);
    ASSERT_TRUE(said.has_value());
    EXPECT_NE(said->features_supported & kFeatureRdma, 0u);
  }
  void request_session() {
    SessionRequest request;
    request.cookie = Cookie::random();
    peer_.send(FrameTag::kSessionNew, request.encode());
  }
  RawPeer peer_;
};

TEST_F(UpgradeRawTest, GarbageInAnOfferEndsTheHandshake) {
  greet();
  peer_.send(FrameTag::kRdmaOffer, std::vector<std::byte>(7));
  EXPECT_TRUE(until([&] { return peer_.has(FrameTag::kHandshakeError); }));
  EXPECT_TRUE(until([&] { return peer_.is_closed(); }));
}

TEST_F(UpgradeRawTest, AnEndpointThatMakesNoSenseIsRefusedInTheAnswer) {
  greet();
  RdmaOffer offer;
  offer.endpoint = std::vector<std::byte>(200, std::byte{0xff});
  peer_.send(FrameTag::kRdmaOffer, offer.encode());
  ASSERT_TRUE(until([&] { return peer_.has(FrameTag::kRdmaAnswer); }));
  const auto answer = RdmaAnswer::decode(peer_.find(FrameTag::kRdmaAnswer)->front);
  ASSERT_TRUE(answer.has_value());
  EXPECT_THAT(answer->endpoint, IsEmpty());
  EXPECT_FALSE(answer->sentence.empty());
  request_session();
  EXPECT_TRUE(until([&] { return peer_.has(FrameTag::kSessionReady); }));
  peer_.close();
}

TEST_F(UpgradeRawTest, AWrongProbeProvesNothing) {
  greet();
  RdmaOffer offer;
  offer.endpoint = {std::byte{200}};
  peer_.send(FrameTag::kRdmaOffer, offer.encode());
  ASSERT_TRUE(until([&] { return peer_.has(FrameTag::kRdmaAnswer); }));
  RawPeer impostor;
  ASSERT_EQ(fast_.for_connector.count(200), 1u);
  impostor.use(std::move(fast_.for_connector[200]));
  fast_.for_connector.clear();
  impostor.send(FrameTag::kRdmaProbe, RdmaProbe{}.encode());
  EXPECT_TRUE(until([&] { return impostor.is_closed(); }));
  EXPECT_FALSE(impostor.has(FrameTag::kRdmaProbe));
  request_session();
  EXPECT_TRUE(until([&] { return peer_.has(FrameTag::kSessionReady); }));
  EXPECT_EQ(theirs_.succeeded, 0);
  peer_.close();
}

TEST(UpgradeMessagesTest, EveryOtherLengthIsRefused) {
  RdmaOffer offer;
  offer.token[3] = std::byte{9};
  offer.endpoint = std::vector<std::byte>(40, std::byte{1});
  RdmaAnswer answer;
  answer.endpoint = offer.endpoint;
  answer.sentence = "because\n";
  const auto whole_offer = RdmaOffer::decode(offer.encode());
  ASSERT_TRUE(whole_offer.has_value());
  EXPECT_EQ(whole_offer->token, offer.token);
  EXPECT_EQ(whole_offer->endpoint, offer.endpoint);
  const auto whole_answer = RdmaAnswer::decode(answer.encode());
  ASSERT_TRUE(whole_answer.has_value());
  EXPECT_EQ(whole_answer->sentence, "because?");
  const auto offer_bytes = offer.encode();
  for (std::size_t n = 0; n < offer_bytes.size(); ++n) {
    EXPECT_FALSE(RdmaOffer::decode(ConstBytes(offer_bytes).first(n)).has_value()) << n;
  }
  const auto answer_bytes = answer.encode();
  for (std::size_t n = 0; n < answer_bytes.size(); ++n) {
    EXPECT_FALSE(RdmaAnswer::decode(ConstBytes(answer_bytes).first(n)).has_value()) << n;
  }
  offer.endpoint.assign(kMaxUpgradeBytes + 1, std::byte{});
  EXPECT_FALSE(RdmaOffer::decode(offer.encode()).has_value());
  offer.endpoint.clear();
  EXPECT_FALSE(RdmaOffer::decode(offer.encode()).has_value()) << "an offer of nothing";
  EXPECT_FALSE(RdmaProbe::decode(std::vector<std::byte>(15)).has_value());
}

}  // namespace
}  // namespace lunar::msgr
