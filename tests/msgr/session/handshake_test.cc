// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/handshake.h"

#include <gmock/gmock.h>

#include "tests/msgr/session/handshake_fixture.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

TEST(FindMismatchTest, NamesWhatOneSideRequiresAndTheOtherLacks) {
  const Hello ours = raw_hello("osd.0");
  Hello theirs = raw_hello("client.a");
  EXPECT_EQ(find_mismatch(ours, theirs), std::nullopt);
  theirs.features_supported |= uint64_t{1} << 40;
  EXPECT_EQ(find_mismatch(ours, theirs), std::nullopt) << "more is fine";
  theirs.features_required |= uint64_t{1} << 40;
  EXPECT_THAT(*find_mismatch(ours, theirs), HasSubstr("client.a requires features 0x10000000000"));
  theirs = raw_hello("client.a");
  theirs.features_supported = 0;
  theirs.features_required = 0;
  EXPECT_THAT(*find_mismatch(ours, theirs), HasSubstr("osd.0 requires features 0x1"));
}

TEST(FindMismatchTest, VersionsNeedOneInCommon) {
  const Hello ours = raw_hello("osd.0");
  Hello theirs = raw_hello("client.a");
  theirs.version = kProtocolVersion + 3;
  EXPECT_EQ(find_mismatch(ours, theirs), std::nullopt);
  theirs.oldest_version = kProtocolVersion + 1;
  EXPECT_THAT(*find_mismatch(ours, theirs), HasSubstr("none in common"));
}

using HandshakeTest = HandshakeFixture;

TEST_F(HandshakeTest, TheRightKeyOpensAndAuthenticatesBothSides) {
  const Keyring keyring = keyring_of({"client.a", "osd.0"});
  Node& server = add_auth_server(keyring);
  Node& client = add_node(with_auth("client.a"), &keyring);
  EXPECT_EQ(outcome(client), std::error_code());
  ASSERT_TRUE(until([&] { return server.events.opens == 1; }));
  EXPECT_TRUE(server.events.last->peer().is_authenticated);
  EXPECT_TRUE(client.events.last->peer().is_authenticated);
}

TEST_F(HandshakeTest, OneSideThatRequiresAuthenticationIsEnough) {
  const Keyring keyring = keyring_of({"client.a"});
  Node& server = add_auth_server(keyring);
  Node& client = add_node(quick_options("client.a"), &keyring);
  EXPECT_EQ(outcome(client), std::error_code());
  ASSERT_TRUE(until([&] { return server.events.opens == 1; }));
  EXPECT_TRUE(server.events.last->peer().is_authenticated);
}

TEST_F(HandshakeTest, AWrongKeyAndAnUnknownEntityLookTheSame) {
  const Keyring servers = keyring_of({"client.a"});
  const Keyring others = keyring_of({"client.a", "client.b"});
  Node& server = add_auth_server(servers);
  EXPECT_EQ(outcome(add_node(with_auth("client.a"), &others)), MsgrErrc::kAuthFailed);
  EXPECT_EQ(outcome(add_node(with_auth("client.b"), &others)), MsgrErrc::kAuthFailed);
  EXPECT_EQ(server.events.opens, 0);

  std::vector<std::string> sentences;
  for (const char* name : {"client.a", "client.b"}) {
    RawPeer raw;
    raw.connect(stack_, *center_, address_);
    ASSERT_TRUE(until([&] { return raw.is_connected(); }));
    raw.send(FrameTag::kHello, raw_hello(name).encode());
    ASSERT_TRUE(until([&] { return raw.has(FrameTag::kAuthChallenge); }));
    raw.send(FrameTag::kAuthProof, AuthProof().encode());
    ASSERT_TRUE(until([&] { return raw.error().has_value(); }));
    EXPECT_EQ(raw.error()->fault, HandshakeFault::kAuthFailed);
    EXPECT_EQ(raw.frames.size(), 3u);
    sentences.push_back(raw.error()->sentence);
    raw.close();
  }
  sentences[1].replace(sentences[1].find("client.b"), 8, "client.a");
  EXPECT_EQ(sentences[0], sentences[1]);
}

TEST_F(HandshakeTest, AClientWithoutAKeySaysSo) {
  const Keyring servers = keyring_of({"client.a"});
  const Keyring clients = keyring_of({"client.other"});
  add_auth_server(servers);
  EXPECT_EQ(outcome(add_node(with_auth("client.a"), &clients)), MsgrErrc::kAuthFailed);
  EXPECT_EQ(outcome(add_node(quick_options("client.c"))), MsgrErrc::kAuthFailed);
}

TEST_F(HandshakeTest, AClientThatRequiresAuthenticationRefusesAServerWithoutKeys) {
  const Keyring clients = keyring_of({"client.a"});
  Node& server = add_server();
  EXPECT_EQ(outcome(add_node(with_auth("client.a"), &clients)), MsgrErrc::kAuthFailed);
  EXPECT_EQ(server.events.opens, 0);
}

TEST_F(HandshakeTest, AServerThatDoesNotProveTheKeyIsRefused) {
  const Keyring keyring = keyring_of({"client.a"});
  auto listener = stack_.listen(*center_, Address::loopback(),
                                [&](std::unique_ptr<Link> link) { raw_.use(std::move(link)); });
  address_ = (*listener)->local_address();
  Node& client = add_node(with_auth("client.a"), &keyring);
  client.messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(raw_gets(FrameTag::kHello));
  raw_.send(FrameTag::kHello, raw_hello("osd.0").encode());
  raw_.send(FrameTag::kAuthChallenge, AuthChallenge().encode());
  ASSERT_TRUE(raw_gets(FrameTag::kAuthProof));
  // It sends the client's own proof back as its answer.
  AuthDone done;
  done.proof = AuthProof::decode(raw_.find(FrameTag::kAuthProof)->front)->proof;
  raw_.send(FrameTag::kAuthDone, done.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_EQ(raw_.error()->fault, HandshakeFault::kAuthFailed);
  ASSERT_TRUE(until([&] { return !client.events.resets.empty(); }));
  EXPECT_EQ(client.events.resets[0], MsgrErrc::kAuthFailed);
  EXPECT_EQ(client.events.opens, 0);
}

// A man in the middle who changes a hello: here, the nonce.
TEST_F(HandshakeTest, AChangedHelloSpoilsTheProof) {
  const Keyring keyring = keyring_of({"client.a"});
  add_auth_server(keyring);
  connect_raw();
  const Secret key = std::move(keyring.pair_keys({"client", "a"}, {"osd", "0"})[0]);
  Hello said = raw_hello("client.a");
  raw_.send(FrameTag::kHello, said.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kAuthChallenge));
  said.nonce += 1;
  Transcript transcript;
  transcript.add(FrameTag::kHello, said.encode());
  transcript.add(FrameTag::kHello, raw_.find(FrameTag::kHello)->front);
  transcript.add(FrameTag::kAuthChallenge, raw_.find(FrameTag::kAuthChallenge)->front);
  AuthProof proof;
  proof.proof = make_client_proof(key, transcript, proof.challenge);
  raw_.send(FrameTag::kAuthProof, proof.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_FALSE(raw_.has(FrameTag::kAuthDone));
}

TEST_F(HandshakeTest, ASecondImplementationGetsInByTheDocument) {
  const Keyring keyring = keyring_of({"client.a"});
  Node& server = add_auth_server(keyring);
  connect_raw();
  const Secret key = std::move(keyring.pair_keys({"client", "a"}, {"osd", "0"})[0]);
  const auto hello = raw_hello("client.a").encode();
  raw_.send(FrameTag::kHello, hello);
  ASSERT_TRUE(raw_gets(FrameTag::kAuthChallenge));
  Transcript transcript;
  transcript.add(FrameTag::kHello, hello);
  transcript.add(FrameTag::kHello, raw_.find(FrameTag::kHello)->front);
  transcript.add(FrameTag::kAuthChallenge, raw_.find(FrameTag::kAuthChallenge)->front);
  AuthProof proof;
  proof.challenge.fill(std::byte{5});
  proof.proof = make_client_proof(key, transcript, proof.challenge);
  raw_.send(FrameTag::kAuthProof, proof.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kAuthDone));
  transcript.add(FrameTag::kAuthProof, proof.encode());
  EXPECT_TRUE(is_same_proof(AuthDone::decode(raw_.find(FrameTag::kAuthDone)->front)->proof,
                            make_server_proof(key, transcript)));
  SessionRequest request;
  request.cookie = {1, 1};
  raw_.send(FrameTag::kSessionNew, request.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kSessionReady));
  raw_.send(FrameTag::kMessage, {}, 1);
  ASSERT_TRUE(until([&] { return server.events.received.size() == 1; }));
  raw_.send(FrameTag::kClose, {});
  ASSERT_TRUE(until([&] { return server.events.resets.size() == 1; }));
}

TEST_F(HandshakeTest, FeaturesThatDoNotMatchAreToldToBothSides) {
  add_server();
  connect_raw();
  Hello hello = raw_hello("client.a");
  hello.features_required |= uint64_t{1} << 50;
  raw_.send(FrameTag::kHello, hello.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_EQ(raw_.error()->fault, HandshakeFault::kFeatureMismatch);
  EXPECT_THAT(raw_.error()->sentence, HasSubstr("client.a requires features 0x4000000000000"));
  EXPECT_TRUE(raw_is_closed());
}

TEST_F(HandshakeTest, AClientHearsOfAMismatchAndTriesAgainSlowly) {
  auto listener = stack_.listen(*center_, Address::loopback(),
                                [&](std::unique_ptr<Link> link) { raw_.use(std::move(link)); });
  address_ = (*listener)->local_address();
  MessengerOptions options = quick_options("client.a");
  options.max_backoff = std::chrono::hours(1);
  Node& client = add_node(options);
  client.messenger->connect(address_, Policy::kLosslessClient);
  ASSERT_TRUE(raw_gets(FrameTag::kHello));
  Hello hello = raw_hello("osd.0");
  hello.oldest_version = hello.version = kProtocolVersion + 1;
  raw_.send(FrameTag::kHello, hello.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  ASSERT_TRUE(until([&] { return !client.events.resets.empty(); }));
  EXPECT_EQ(client.events.resets[0], MsgrErrc::kFeatureMismatch);
  EXPECT_EQ(injector_.connects, 1);
}

TEST_F(HandshakeTest, AFrameOutOfPlaceEndsIt) {
  Node& server = add_server();
  connect_raw();
  raw_.send(FrameTag::kMessage, {}, 1);
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_EQ(raw_.error()->fault, HandshakeFault::kProtocol);
  EXPECT_TRUE(raw_is_closed());
  EXPECT_EQ(server.events.opens, 0);
}

TEST_F(HandshakeTest, AHelloThatDoesNotParseEndsIt) {
  add_server();
  connect_raw();
  raw_.send(FrameTag::kHello, {std::byte{1}, std::byte{2}});
  EXPECT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_TRUE(raw_is_closed());
}

TEST_F(HandshakeTest, AStrangerGetsNoPayloadMemory) {
  add_server();
  connect_raw();
  raw_.send_with_data(FrameTag::kHello, raw_hello("client.a").encode(), std::string(1 << 20, 'x'));
  EXPECT_TRUE(raw_is_closed());
  EXPECT_FALSE(raw_.has(FrameTag::kHello));
  EXPECT_EQ(stack_.buffers().bytes_in_use(), 0u);
}

TEST_F(HandshakeTest, APeerThatSaysNothingIsClosed) {
  MessengerOptions options = quick_options("osd.0");
  options.connection_ready_timeout = 20ms;
  Node& server = add_node(options);
  address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
  connect_raw();
  EXPECT_TRUE(raw_is_closed());
}

TEST_F(HandshakeTest, APeerThatStopsHalfwayIsClosed) {
  MessengerOptions options = quick_options("osd.0");
  options.connection_ready_timeout = 500ms;
  Node& server = add_node(options);
  address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
  connect_raw();
  raw_.send(FrameTag::kHello, raw_hello("client.a").encode());
  EXPECT_TRUE(raw_is_closed());
  EXPECT_TRUE(raw_.has(FrameTag::kHello));
}

TEST_F(HandshakeTest, AServerThatSaysNothingIsTriedAgain) {
  std::vector<std::unique_ptr<Link>> silent;
  auto listener = stack_.listen(*center_, Address::loopback(), [&](std::unique_ptr<Link> link) {
    silent.push_back(std::move(link));
  });
  address_ = (*listener)->local_address();
  MessengerOptions options = quick_options("client.a");
  options.connection_ready_timeout = 10ms;
  Node& client = add_node(options);
  client.messenger->connect(address_, Policy::kLosslessClient);
  EXPECT_TRUE(until([&] { return silent.size() >= 3; }));
  EXPECT_TRUE(client.events.resets.empty());
}

TEST_F(HandshakeTest, AFrontOfAHandshakeIsShort) {
  add_server();
  connect_raw();
  raw_.send(FrameTag::kHello, std::vector<std::byte>(kMaxHandshakeFront + 1));
  EXPECT_TRUE(raw_is_closed());
  EXPECT_FALSE(raw_.has(FrameTag::kHandshakeError)) << "nothing was read";
}

TEST_F(HandshakeTest, AGenerationThatWouldWrapIsRefused) {
  add_server();
  for (const uint64_t generation : {UINT64_MAX, kMaxGeneration + 1}) {
    RawPeer raw;
    raw.connect(stack_, *center_, address_);
    ASSERT_TRUE(until([&] { return raw.is_connected(); }));
    raw.send(FrameTag::kHello, raw_hello("client.a").encode());
    ASSERT_TRUE(until([&] { return raw.has(FrameTag::kHello); }));
    SessionRequest request;
    request.cookie = Cookie::random();
    request.generation = generation;
    raw.send(FrameTag::kSessionNew, request.encode());
    ASSERT_TRUE(until([&] { return raw.is_closed(); }));
    EXPECT_FALSE(raw.has(FrameTag::kSessionReady));
    raw.close();
  }
}

TEST_F(HandshakeTest, WithoutProofOnlyLoopbackAddressesAreTalkedTo) {
  for (const char* address : {"127.0.0.1:7", "192.0.2.1:7"}) {
    RawPeer raw;
    auto listener = stack_.listen(*center_, *Address::parse(address),
                                  [&](std::unique_ptr<Link> link) { raw.use(std::move(link)); });
    ASSERT_TRUE(listener) << listener.error().message;
    Node& client = add_node(quick_options("client.a"));
    client.messenger->connect(*Address::parse(address), Policy::kLosslessClient);
    ASSERT_TRUE(until([&] { return raw.is_connected(); }));
    raw.send(FrameTag::kHello, raw_hello("osd.0").encode());
    ASSERT_TRUE(until(
        [&] { return raw.has(FrameTag::kSessionNew) || raw.has(FrameTag::kHandshakeError); }));
    EXPECT_EQ(raw.has(FrameTag::kSessionNew), std::string(address).starts_with("127."));
    raw.close();
    shut_down(client);
  }
}

TEST_F(HandshakeTest, AnEntityHasOnlySoManySessions) {
  MessengerOptions options = quick_options("osd.0");
  options.max_sessions = 3;
  Node& server = add_node(options);
  address_ = *server.messenger->bind(Address::loopback(), Policy::kStatefulServer);
  for (int i = 0; i < 3; ++i) {
    MessengerOptions client = quick_options("client.a");
    client.instance = "instance-" + std::to_string(i);
    EXPECT_EQ(outcome(add_node(client)), std::error_code());
  }
  connect_raw();
  raw_.send(FrameTag::kHello, raw_hello("client.a").encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHello));
  SessionRequest request;
  request.cookie = Cookie::random();
  raw_.send(FrameTag::kSessionNew, request.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kHandshakeError));
  EXPECT_EQ(raw_.error()->fault, HandshakeFault::kTooMany);
  EXPECT_NE(raw_.error()->sentence.find("client.a has 3 sessions here"), std::string::npos);
  EXPECT_EQ(outcome(add_node(quick_options("client.b"))), std::error_code());
}

TEST_F(HandshakeTest, HandshakesUnderWayAreBoundedAndTheOldestEndsFirst) {
  MessengerOptions options = quick_options("osd.0");
  options.max_handshakes_per_host = 256;
  address_ = *add_node(options).messenger->bind(Address::loopback(), Policy::kStatefulServer);
  std::vector<std::unique_ptr<RawPeer>> raws;
  for (int i = 0; i < 300; ++i) {
    raws.push_back(std::make_unique<RawPeer>());
    raws.back()->connect(stack_, *center_, address_);
    settle();
  }
  EXPECT_TRUE(until([&] { return raws.front()->is_closed(); }));
  EXPECT_FALSE(raws.back()->is_closed());
  Node& client = add_node(quick_options("client.a"));
  EXPECT_EQ(outcome(client), std::error_code());
  const auto closed =
      std::count_if(raws.begin(), raws.end(), [](const auto& raw) { return raw->is_closed(); });
  EXPECT_EQ(closed, 300 - 256 + 1);
  for (auto& raw : raws) raw->close();
}

}  // namespace
}  // namespace lunar::msgr
