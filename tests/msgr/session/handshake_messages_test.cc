// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/handshake_messages.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

Hello sample_hello() {
  Hello hello;
  hello.entity = "osd.7";
  hello.instance = "host-a/osd.7";
  hello.nonce = 0x1122334455667788;
  hello.auth_required = true;
  hello.listening = *Address::parse("[2001:db8::7]:6800");
  return hello;
}

// Every prefix of an encoding, and every encoding with something behind it, is refused.
template <typename Decode>
void expect_exact(std::vector<std::byte> front, Decode decode) {
  for (std::size_t length = 0; length < front.size(); ++length) {
    EXPECT_FALSE(decode(ConstBytes(front).first(length)).has_value()) << length;
  }
  EXPECT_TRUE(decode(front).has_value());
  front.push_back(std::byte{0});
  EXPECT_FALSE(decode(front).has_value()) << "a byte too many";
}

TEST(HandshakeMessagesTest, HelloSurvivesTheWire) {
  const Hello sent = sample_hello();
  const auto got = Hello::decode(sent.encode());
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->version, kProtocolVersion);
  EXPECT_EQ(got->features_supported, kFeaturesSupported);
  EXPECT_EQ(got->features_required, kFeaturesRequired);
  EXPECT_TRUE(got->auth_required);
  EXPECT_EQ(got->entity, sent.entity);
  EXPECT_EQ(got->instance, sent.instance);
  EXPECT_EQ(got->nonce, sent.nonce);
  EXPECT_EQ(got->listening, sent.listening);
}

TEST(HandshakeMessagesTest, HelloWithoutListenerKeepsAnUnsetAddress) {
  Hello sent = sample_hello();
  sent.listening = {};
  const auto got = Hello::decode(sent.encode());
  ASSERT_TRUE(got.has_value());
  EXPECT_TRUE(got->listening.is_unset());
}

TEST(HandshakeMessagesTest, HelloHasItsBytesWhereTheProtocolSays) {
  Hello hello;
  hello.entity = "osd.1";
  hello.instance = "x";
  hello.nonce = 2;
  hello.listening = Address::loopback(6800);
  const auto front = hello.encode();
  ASSERT_EQ(front.size(), 8u + 2 + 2 + 8 + 8 + 1 + 4 + 5 + 4 + 1 + 8 + Address::kWireBytes);
  EXPECT_EQ(as_text(ConstBytes(front).first(8)), "LUNARMSG");
  EXPECT_EQ(front[8], std::byte{1});
  EXPECT_EQ(front[29], std::byte{5});
  EXPECT_EQ(as_text(ConstBytes(front).subspan(33, 5)), "osd.1");
  EXPECT_EQ(front[43], std::byte{2});
  EXPECT_EQ(front[51], std::byte{4});
  EXPECT_EQ(front[52], std::byte{127});
  EXPECT_EQ(front[68], std::byte{0x90});  // 6800 = 0x1a90
  EXPECT_EQ(front[69], std::byte{0x1a});
}

TEST(HandshakeMessagesTest, HelloOfAnotherProtocolIsABadBanner) {
  auto front = sample_hello().encode();
  front[0] = std::byte{'X'};
  EXPECT_EQ(Hello::decode(front).error(), MsgrErrc::kBadBanner);
}

TEST(HandshakeMessagesTest, HelloIsReadToItsLastByte) {
  expect_exact(sample_hello().encode(), Hello::decode);
}

TEST(HandshakeMessagesTest, HelloOfALaterVersionMaySayMore) {
  Hello hello = sample_hello();
  hello.version = kProtocolVersion + 1;
  auto front = hello.encode();
  front.push_back(std::byte{42});
  ASSERT_TRUE(Hello::decode(front).has_value());
}

TEST(HandshakeMessagesTest, HelloNamesMustBePlainText) {
  Hello hello = sample_hello();
  hello.entity = "osd.7\n[client.admin]";
  EXPECT_FALSE(Hello::decode(hello.encode()).has_value());
  hello = sample_hello();
  hello.instance = std::string(kMaxInstanceBytes + 1, 'a');
  EXPECT_FALSE(Hello::decode(hello.encode()).has_value());
  hello = sample_hello();
  hello.entity.clear();
  EXPECT_FALSE(Hello::decode(hello.encode()).has_value());
}

TEST(HandshakeMessagesTest, HelloWithAnAddressOfNoFamilyIsRefused) {
  auto front = sample_hello().encode();
  front[front.size() - Address::kWireBytes] = std::byte{5};
  EXPECT_FALSE(Hello::decode(front).has_value());
}

TEST(HandshakeMessagesTest, AuthFramesSurviveTheWire) {
  AuthChallenge challenge;
  challenge.challenge.fill(std::byte{7});
  EXPECT_EQ(AuthChallenge::decode(challenge.encode())->challenge, challenge.challenge);
  AuthProof proof;
  proof.challenge.fill(std::byte{8});
  proof.proof.fill(std::byte{9});
  const auto got = AuthProof::decode(proof.encode());
  EXPECT_EQ(got->challenge, proof.challenge);
  EXPECT_EQ(got->proof, proof.proof);
  AuthDone done;
  done.proof.fill(std::byte{10});
  EXPECT_EQ(AuthDone::decode(done.encode())->proof, done.proof);
  expect_exact(challenge.encode(), AuthChallenge::decode);
  expect_exact(proof.encode(), AuthProof::decode);
  expect_exact(done.encode(), AuthDone::decode);
}

TEST(HandshakeMessagesTest, ChallengeOfAnUnknownMethodIsRefused) {
  auto front = AuthChallenge().encode();
  front[0] = std::byte{2};
  EXPECT_FALSE(AuthChallenge::decode(front).has_value());
}

SessionRequest sample_request() {
  SessionRequest request;
  request.cookie = {1, 2};
  request.peer_cookie = {3, 4};
  request.generation = 5;
  request.in_seq = 6;
  request.peer_to_peer = true;
  return request;
}

TEST(HandshakeMessagesTest, SessionRequestSurvivesTheWire) {
  const SessionRequest sent = sample_request();
  const auto got = SessionRequest::decode(true, sent.encode());
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->cookie, sent.cookie);
  EXPECT_EQ(got->peer_cookie, sent.peer_cookie);
  EXPECT_EQ(got->generation, 5u);
  EXPECT_EQ(got->in_seq, 6u);
  EXPECT_FALSE(got->lossy);
  EXPECT_TRUE(got->peer_to_peer);
  expect_exact(sent.encode(), [](ConstBytes front) { return SessionRequest::decode(true, front); });
}

TEST(HandshakeMessagesTest, SessionRequestFitsItsTag) {
  SessionRequest request = sample_request();
  EXPECT_FALSE(SessionRequest::decode(false, request.encode()).has_value());
  request.peer_cookie = {};
  EXPECT_FALSE(SessionRequest::decode(true, request.encode()).has_value());
  EXPECT_FALSE(SessionRequest::decode(false, request.encode()).has_value()) << "has an in_seq";
  request.in_seq = 0;
  EXPECT_TRUE(SessionRequest::decode(false, request.encode()).has_value());
  request.cookie = {};
  EXPECT_FALSE(SessionRequest::decode(false, request.encode()).has_value());
}

TEST(HandshakeMessagesTest, ALossySessionIsNeitherResumedNorBetweenPeers) {
  SessionRequest request = sample_request();
  request.lossy = true;
  EXPECT_FALSE(SessionRequest::decode(true, request.encode()).has_value());
  request.peer_cookie = {};
  request.in_seq = 0;
  EXPECT_FALSE(SessionRequest::decode(false, request.encode()).has_value());
  request.peer_to_peer = false;
  EXPECT_TRUE(SessionRequest::decode(false, request.encode()).has_value());
}

TEST(HandshakeMessagesTest, SessionAnswersSurviveTheWire) {
  SessionReady ready;
  ready.cookie = {9, 8};
  ready.generation = 7;
  ready.in_seq = 6;
  ready.lossy = true;
  const auto got = SessionReady::decode(ready.encode());
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->cookie, ready.cookie);
  EXPECT_EQ(got->generation, 7u);
  EXPECT_EQ(got->in_seq, 6u);
  EXPECT_TRUE(got->lossy);
  expect_exact(ready.encode(), SessionReady::decode);
  ready.generation = 0;
  EXPECT_FALSE(SessionReady::decode(ready.encode()).has_value());

  const SessionRetry retry{RetryReason::kStaleGeneration, 11};
  EXPECT_EQ(SessionRetry::decode(retry.encode())->generation, 11u);
  expect_exact(retry.encode(), SessionRetry::decode);
  EXPECT_FALSE(SessionRetry::decode(SessionRetry{static_cast<RetryReason>(3), 0}.encode()));
}

TEST(HandshakeMessagesTest, AnErrorsSentenceIsMadePrintableAndBounded) {
  const auto got = HandshakeError::decode(
      HandshakeError{HandshakeFault::kAuthFailed, "no\n\x1b[1m key"}.encode());
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->sentence, "no??[1m key");
  const HandshakeError long_error{HandshakeFault::kProtocol, std::string(5000, 'x')};
  EXPECT_EQ(HandshakeError::decode(long_error.encode())->sentence.size(), kMaxSentenceBytes);
}

TEST(HandshakeMessagesTest, KeepalivesSurviveTheWire) {
  EXPECT_EQ(Keepalive::decode(Keepalive{77}.encode())->sent, 77u);
  const auto ack = KeepaliveAck::decode(KeepaliveAck{1, 2, 3}.encode());
  ASSERT_TRUE(ack.has_value());
  EXPECT_EQ(ack->received, 2u);
  EXPECT_EQ(ack->answered, 3u);
  expect_exact(KeepaliveAck{1, 2, 3}.encode(), KeepaliveAck::decode);
}

TEST(HandshakeMessagesTest, CookiesAreNotRepeated) {
  const Cookie one = Cookie::random();
  EXPECT_FALSE(one.is_zero());
  EXPECT_NE(one, Cookie::random());
}

}  // namespace
}  // namespace lunar::msgr
