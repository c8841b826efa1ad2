// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gmock/gmock.h>

#include <algorithm>
#include <cstring>

#include "msgr/posix/posix_stack.h"
#include "tests/msgr/session/byte_relay.h"
#include "tests/msgr/session/secure_fixture.h"
#include "tests/support/turn_until.h"

// Sessions inside TLS: who gets one, and what somebody between two sides can do.

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SecureTest : public SecureFixture {};

TEST_F(SecureTest, TheModeIsThatWhichBothTakeAndTheConnectorPrefers) {
  struct Case {
    const char* connector;
    const char* acceptor;
    bool is_secure;
  };
  for (const Case& each :
       {Case{"secure", "secure", true}, Case{"secure", "crc secure", true},
        Case{"crc secure", "secure", true}, Case{"crc secure", "crc secure", false},
        Case{"secure crc", "crc secure", true}, Case{"crc secure", "secure crc", false},
        Case{"secure crc", "crc", false}, Case{"crc", "crc secure", false},
        Case{"crc", "crc", false}}) {
    SCOPED_TRACE(std::string(each.connector) + " to " + each.acceptor);
    Node& server = add_server_of(each.acceptor);
    Node& client = add_client_of(each.connector);
    EXPECT_EQ(outcome(client), std::error_code());
    ASSERT_TRUE(until([&] { return server.events.opens == 1; }));
    EXPECT_TRUE(server.events.last->peer().is_authenticated);
    EXPECT_EQ(client.events.last->peer().is_secure, each.is_secure);
    EXPECT_EQ(server.events.last->peer().is_secure, each.is_secure);
    shut_down(client);
    shut_down(server);
  }
}

TEST_F(SecureTest, ASideThatTakesOnlySecureLinksRefusesPlainOnes) {
  for (const auto& [connector, acceptor] :
       {std::pair("crc", "secure"), std::pair("secure", "crc")}) {
    Node& server = add_server_of(acceptor);
    Node& client = add_client_of(connector);
    EXPECT_EQ(outcome(client), MsgrErrc::kFeatureMismatch);
    EXPECT_EQ(server.events.opens, 0);
    shut_down(client);
    shut_down(server);
  }
}

TEST_F(SecureTest, TheRefusalNamesBothAndTheOption) {
  add_server_of("secure");
  connect_raw();
  raw_.send(FrameTag::kHello, raw_hello("client.a").encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_EQ(raw_.error()->fault, HandshakeFault::kFeatureMismatch);
  EXPECT_THAT(raw_.error()->sentence,
              HasSubstr("osd.0 takes only secure links (ms_service_mode = secure) and client.a "
                        "offers none: give client.a a keyring and add secure to its "
                        "ms_client_mode"));
}

TEST_F(SecureTest, WhichOptionCountsDependsOnWhoIsThere) {
  MessengerOptions options = with_auth("osd.0");
  options.modes.cluster = *WireModes::parse("secure");
  options.modes.service = options.modes.client = *WireModes::parse("crc");
  Node& server = add_node(options, &keyring_);
  address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
  Node& client = add_client_of("crc secure");
  EXPECT_EQ(outcome(client), std::error_code());
  EXPECT_FALSE(client.events.last->peer().is_secure);
  Node& other = add_client_of("crc secure", "osd.1");
  EXPECT_EQ(outcome(other), std::error_code());
  EXPECT_TRUE(other.events.last->peer().is_secure);
}

TEST_F(SecureTest, SecureIsAuthenticatedWhoeverAsksForIt) {
  MessengerOptions server_options = with_modes(quick_options("osd.0"), "crc secure");
  Node& server = add_node(server_options, &keyring_);
  address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
  Node& client = add_node(with_modes(quick_options("client.a"), "secure"), &keyring_);
  EXPECT_EQ(outcome(client), std::error_code());
  EXPECT_TRUE(client.events.last->peer().is_authenticated);
}

TEST_F(SecureTest, AWrongKeyAndAnUnknownEntityAreRefused) {
  const Keyring others = keyring_of({"client.a", "client.b"});
  Node& server = add_server_of("secure");
  for (const char* name : {"client.a", "client.b"}) {
    Node& client = add_node(with_modes(with_auth(name), "secure"), &others);
    EXPECT_EQ(outcome(client), MsgrErrc::kAuthFailed);
    shut_down(client);
  }
  EXPECT_EQ(server.events.opens, 0);
  EXPECT_GE(count(server, "auth_failed"), 2u);
}

TEST_F(SecureTest, ALostLinkIsFollowedByAnotherSecureOneAndAReplay) {
  Node& server = add_server_of("secure");
  server.events.when_message = [](Connection& from, InMessage& message) {
    EXPECT_TRUE(from.peer().is_secure);
    send(from, message.meta.tid, "reply");
  };
  Node& client = add_client_of("secure");
  ConnectionRef connection = client.messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(until([&] { return client.events.opens == 1; }));
  for (uint64_t tid = 1; tid <= 12; ++tid) {
    injector_.cut_next_send = true;
    send(*connection, tid, "request");
    ASSERT_TRUE(until([&] { return client.events.received.size() == tid; })) << "request " << tid;
  }
  EXPECT_EQ(server.events.received.size(), 12u);
  EXPECT_GE(client.events.links_down, 12);
  EXPECT_THAT(client.events.resets, IsEmpty());
}

TEST_F(SecureTest, ALinkThatHasCarriedEnoughIsReplacedAndNothingIsLost) {
  Node& server = add_server_of("secure");
  server.events.when_message = [](Connection& from, InMessage& message) {
    send(from, message.meta.tid, "reply");
  };
  MessengerOptions options = with_modes(with_auth("client.a"), "secure");
  options.secure_max_bytes = 1u << 20;
  Node& client = add_node(options, &keyring_);
  ConnectionRef connection = client.messenger->connect(address_, Policy::kLosslessClient);
  constexpr uint64_t kMessages = 200;
  const std::string data(50'000, 'd');
  for (uint64_t tid = 1; tid <= kMessages; ++tid) {
    connection->send(std::make_unique<ProbeMessage>(probe_, meta(tid), "front", data));
  }
  ASSERT_TRUE(until([&] { return client.events.received.size() == kMessages; }));
  ASSERT_EQ(server.events.received.size(), kMessages);
  for (uint64_t tid = 1; tid <= kMessages; ++tid) {
    EXPECT_EQ(server.events.received[tid - 1].tid, tid);
    EXPECT_EQ(server.events.received[tid - 1].data, data);
  }
  EXPECT_GE(count(client, "links_renewed"), 5u);
  EXPECT_EQ(count(client, "links_lost"), 0u);
  EXPECT_THAT(client.events.resets, IsEmpty());
}

TEST_F(SecureTest, AMessageThatIsLongerThanALinkMayCarryArrives) {
  Node& server = add_server_of("secure");
  server.events.when_message = [](Connection& from, InMessage& message) {
    send(from, message.meta.tid, "reply");
  };
  MessengerOptions options = with_modes(with_auth("client.a"), "secure");
  options.secure_max_bytes = 64u << 10;
  Node& client = add_node(options, &keyring_);
  ConnectionRef connection = client.messenger->connect(address_, Policy::kLosslessClient);
  const std::string data(3'000'000, 'd');
  for (uint64_t tid = 1; tid <= 3; ++tid) {
    connection->send(std::make_unique<ProbeMessage>(probe_, meta(tid), "front", data));
  }
  ASSERT_TRUE(until([&] { return client.events.received.size() == 3; }));
  ASSERT_EQ(server.events.received.size(), 3u);
  EXPECT_GE(count(client, "links_renewed"), 1u);
}

// Somebody in between who passes frames on and may change them: what is said about modes.
class FrameRelayTest : public SecureTest {
 protected:
  struct Leg final : LinkHandler {
    Bytes payload_for(const FrameHeader&, ConstBytes) override { return {}; }
    void on_frame(ReceivedFrame frame) override { passes(std::move(frame)); }
    void on_closed(std::error_code) override {
      if (other->link) other->link->close({});
    }
    std::function<void(ReceivedFrame)> passes;
    std::unique_ptr<Link> link;
    Leg* other = nullptr;
  };
  ~FrameRelayTest() override {
    for (auto& leg : legs_) leg->link->close({});
    settle();
    legs_.clear();
  }

  void begin_relay() {
    relay_ = std::move(*stack_.listen(*center_, Address::loopback(), [this](auto link) {
      pending_.push_back(stack_.connect(
          *center_, server_address_,
          [this, client = std::make_shared<std::unique_ptr<Link>>(std::move(link))](auto server) {
            if (server) join(std::move(*client), std::move(*server));
          }));
    }));
    server_address_ = address_;
    address_ = relay_->local_address();
  }
  void join(std::unique_ptr<Link> client, std::unique_ptr<Link> server) {
    Leg& left = *legs_.emplace_back(std::make_unique<Leg>());
    Leg& right = *legs_.emplace_back(std::make_unique<Leg>());
    left.other = &right;
    right.other = &left;
    left.link = std::move(client);
    right.link = std::move(server);
    for (Leg* leg : {&left, &right}) {
      leg->passes = [this, leg](ReceivedFrame received) {
        Frame frame;
        frame.header = received.header;
        frame.front.assign(received.front.begin(), received.front.end());
        if (received.header.tag == static_cast<uint8_t>(FrameTag::kHello) && change_hello) {
          Hello hello = *Hello::decode(received.front);
          change_hello(hello);
          frame.front = hello.encode();
        }
        auto data = std::make_shared<std::string>(as_text(received.data));
        if (change_data) change_data(*data);
        if (!data->empty()) frame.data.push_back(as_const_bytes(*data));
        leg->other->link->send(std::move(frame), [data](std::error_code) {});
      };
      leg->link->set_handler(leg);
    }
  }

  std::function<void(Hello&)> change_hello;
  std::function<void(std::string&)> change_data;
  std::unique_ptr<Listener> relay_;
  Address server_address_;
  std::vector<std::unique_ptr<PendingConnect>> pending_;
  std::vector<std::unique_ptr<Leg>> legs_;
};

TEST_F(FrameRelayTest, WithChecksumsWhoIsInBetweenCanChangeAPayload) {
  Node& server = add_server_of("crc");
  begin_relay();
  change_data = [](std::string& data) { std::replace(data.begin(), data.end(), 'd', 'X'); };
  Node& client = add_client_of("crc");
  ConnectionRef connection = client.messenger->connect(address_, Policy::kLosslessClient);
  connection->send(std::make_unique<ProbeMessage>(probe_, meta(1), "front", "data"));
  ASSERT_TRUE(until([&] { return server.events.received.size() == 1; }));
  EXPECT_EQ(server.events.received[0].data, "Xata") << "what ms_*_mode = secure is there for";
}

// Without authentication, so that nothing else notices.
TEST_F(FrameRelayTest, APeerOfAnEarlierReleaseIsKnownByItsHello) {
  Node& server = add_node(quick_options("osd.0"));
  address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
  begin_relay();
  for (const bool is_earlier : {false, true}) {
    if (is_earlier)
      change_hello = [](Hello& hello) { hello.features_supported &= ~kFeaturePoolIds; };
    Node& client = add_node(quick_options("osd.1"));
    EXPECT_EQ(outcome(client), std::error_code());
    EXPECT_EQ(client.events.last->peer().reads_pool_ids, !is_earlier);
    EXPECT_TRUE(client.events.last->peer().follows_moves);
    shut_down(client);
  }
}

TEST_F(FrameRelayTest, WhoTakesOnlySecureLinksIsNotTalkedOutOfIt) {
  change_hello = [](Hello& hello) {
    hello.features_supported &= ~(kFeatureSecure | kFeaturePrefersSecure);
    hello.features_required &= ~kFeatureSecure;
  };
  for (const auto& [connector, acceptor] :
       {std::pair("secure", "secure"), std::pair("secure", "crc secure"),
        std::pair("crc secure", "secure")}) {
    Node& server = add_server_of(acceptor);
    begin_relay();
    Node& client = add_client_of(connector);
    EXPECT_EQ(outcome(client), MsgrErrc::kFeatureMismatch);
    EXPECT_EQ(server.events.opens, 0);
    shut_down(client);
    shut_down(server);
  }
}

// Both have the keys themselves, so that either would do: an older version knows of no others.
TEST_F(FrameRelayTest, PairKeysAreNotTalkedAway) {
  Keyring derived = keyring_.derived_for({"osd", "0"});
  for (const bool is_derived : {false, true}) {
    for (const bool is_unsaid : {false, true}) {
      change_hello = [&](Hello& hello) {
        hello.features_supported &= ~kFeaturePairKeys;
        if (is_unsaid) hello.features_required &= ~kFeaturePairKeys;
      };
      Node& server = add_node(with_modes(with_auth("osd.0"), "crc"),
                              is_derived ? &std::as_const(derived) : &keyring_);
      address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
      begin_relay();
      Node& client = add_client_of("crc");
      EXPECT_EQ(outcome(client), is_derived ? MsgrErrc::kFeatureMismatch : MsgrErrc::kAuthFailed);
      EXPECT_EQ(server.events.opens, 0);
      shut_down(client);
      shut_down(server);
    }
  }
}

TEST_F(FrameRelayTest, WhoPrefersSecureLinksSeesThatAHelloWasChanged) {
  change_hello = [](Hello& hello) { hello.features_supported &= ~kFeatureSecure; };
  Node& server = add_server_of("secure crc");
  begin_relay();
  Node& client = add_client_of("secure crc");
  EXPECT_EQ(outcome(client), MsgrErrc::kAuthFailed);
  EXPECT_EQ(server.events.opens, 0);
}

// The same over TCP, byte by byte.
class ByteRelayTest : public ::testing::Test {
 protected:
  ByteRelayTest()
      : center_(std::move(*EventCenter::create({}))), stack_(std::move(*PosixStack::create({}))) {}
  ~ByteRelayTest() override {
    for (auto* node : {&client_, &server_}) {
      bool done = node->messenger == nullptr;
      if (!done) node->messenger->shutdown([&] { done = true; });
      EXPECT_TRUE(test::turn_until(*center_, [&] { return done; }));
      node->messenger.reset();
    }
  }
  void begin(std::string_view modes) {
    keyring_ = keyring_of({"client.a", "osd.0"});
    make(server_, "osd.0", modes);
    const Address address = *server_.messenger->bind(Address::loopback(), Policy::kStatefulServer);
    relay_.emplace(*center_, address);
    make(client_, "client.a", modes);
    connection_ = client_.messenger->connect(relay_->address(), Policy::kLosslessClient);
  }
  void make(Node& node, std::string entity, std::string_view modes) {
    MessengerOptions options;
    options.entity = std::move(entity);
    options.initial_backoff = 1ms;
    options.max_backoff = 4ms;
    node.messenger = std::move(*Messenger::create(*center_, *stack_, with_modes(options, modes),
                                                  &keyring_, &node.perf, &node.events));
  }
  bool until(const std::function<bool()>& done) { return test::turn_until(*center_, done); }
  // For either way of the relay.
  std::function<void(std::string&)> change_hellos(std::function<void(Hello&)> change) {
    return [this, change = std::move(change)](std::string& bytes) {
      FrameHeader header;
      if (bytes.size() <= sizeof header || !bytes.starts_with("LNR1")) return;  // inside TLS
      std::memcpy(&header, bytes.data(), sizeof header);
      if (header.tag != static_cast<uint8_t>(FrameTag::kHello)) return;
      const std::size_t size = sizeof header + header.front_length.value();
      if (bytes.size() < size) return;
      const auto said = std::string_view(bytes).substr(sizeof header, size - sizeof header);
      Frame frame;
      frame.header = header;
      Hello hello = *Hello::decode(as_const_bytes(said));
      change(hello);
      frame.front = hello.encode();
      seal_frame(frame, true);
      const std::string rest = bytes.substr(size);
      bytes.assign(reinterpret_cast<const char*>(&frame.header), sizeof frame.header);
      bytes.append(as_text(frame.front));
      bytes.append(rest);
      ++changed_;
    };
  }

  int changed_ = 0;  // hellos
  std::unique_ptr<EventCenter> center_;
  std::unique_ptr<PosixStack> stack_;
  Keyring keyring_;
  std::optional<ByteRelay> relay_;
  Node server_;
  Node client_;
  Probe probe_;
  ConnectionRef connection_;
};

TEST_F(ByteRelayTest, APayloadChangedOnTheWayEndsTheLinkAndTheWriteIsReplayed) {
  begin("secure");
  ASSERT_TRUE(until([&] { return client_.events.opens == 1; }));
  int flips = 0;
  int flipped_link = 0;
  relay_->to_server = [&](std::string& bytes) {
    if (bytes.size() < 2000 || flips == 3 || flipped_link == client_.events.links_up) return;
    flipped_link = client_.events.links_up;
    ++flips;
    bytes[bytes.size() / 2] ^= 1;
  };
  const std::string data(100'000, 'd');
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), "write", data));
  ASSERT_TRUE(until([&] { return server_.events.received.size() == 1; }));
  EXPECT_EQ(server_.events.received[0].data, data);
  EXPECT_EQ(flips, 3);
  EXPECT_EQ(server_.events.links_down, 3);
  EXPECT_THAT(client_.events.resets, IsEmpty());
}

TEST_F(ByteRelayTest, PairKeysAreNotTalkedAwayInsideEither) {
  begin("secure");
  const auto change = change_hellos([](Hello& hello) {
    hello.features_supported &= ~kFeaturePairKeys;  // both go on with the key itself
  });
  relay_->to_server = change;
  relay_->to_client = change;
  ASSERT_TRUE(until([&] { return !client_.events.resets.empty(); }));
  EXPECT_GE(changed_, 2);
  EXPECT_EQ(client_.events.resets[0], MsgrErrc::kAuthFailed);
  EXPECT_EQ(server_.events.opens, 0);
}

TEST_F(ByteRelayTest, AChangedHelloSpoilsTheProofInsideToo) {
  begin("secure");
  relay_->to_server = change_hellos([](Hello& hello) { hello.nonce += 1; });
  ASSERT_TRUE(until([&] { return !client_.events.resets.empty(); }));
  EXPECT_GE(changed_, 1);
  EXPECT_EQ(client_.events.resets[0], MsgrErrc::kAuthFailed);
  EXPECT_EQ(server_.events.opens, 0);
}

TEST_F(ByteRelayTest, NoPayloadIsSeenOnTheWay) {
  for (const bool is_secure : {false, true}) {
    std::string seen;
    begin(is_secure ? "secure" : "crc");
    relay_->to_server = [&](std::string& bytes) { seen += bytes; };
    connection_->send(
        std::make_unique<ProbeMessage>(probe_, meta(1), "write", std::string(10'000, 'd')));
    ASSERT_TRUE(until([&] { return !server_.events.received.empty(); }));
    EXPECT_EQ(seen.find("dddddddd") == std::string::npos, is_secure);
    EXPECT_EQ(seen.find("write") == std::string::npos, is_secure);
    relay_->to_server = nullptr;
    connection_.reset();
    for (auto* node : {&client_, &server_}) {
      bool done = false;
      node->messenger->shutdown([&] { done = true; });
      ASSERT_TRUE(until([&] { return done; }));
      node->messenger.reset();
      node->events.received.clear();
    }
  }
}

}  // namespace
}  // namespace lunar::msgr
