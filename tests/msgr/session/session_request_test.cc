// SPDX-License-Identifier: LGPL-2.1-or-later
// Session requests of a peer that has finished hello and authentication, allowed and forbidden
// ones.
#include <gmock/gmock.h>

#include <chrono>
#include <memory>

#include "tests/msgr/session/handshake_fixture.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

class SessionRequestTest : public HandshakeFixture {
 protected:
  void SetUp() override {
    server_ = &add_server();
    connect_raw();
    raw_.send(FrameTag::kHello, raw_hello("client.a").encode());
    ASSERT_TRUE(raw_gets(FrameTag::kHello));
  }
  // Opens a session and returns the answer of the server.
  SessionReady open() {
    request_.cookie = {7, 7};
    raw_.send(FrameTag::kSessionNew, request_.encode());
    EXPECT_TRUE(raw_gets(FrameTag::kSessionReady));
    return *SessionReady::decode(raw_.find(FrameTag::kSessionReady)->front);
  }
  // A second link, with this hello.
  std::unique_ptr<RawPeer> another(Hello hello) {
    auto raw = std::make_unique<RawPeer>();
    raw->connect(stack_, *center_, address_);
    EXPECT_TRUE(until([&] { return raw->is_connected(); }));
    raw->send(FrameTag::kHello, hello.encode());
    EXPECT_TRUE(until([&] { return raw->has(FrameTag::kHello); }));
    return raw;
  }
  bool gets(RawPeer& raw, FrameTag tag) {
    return until([&] { return raw.has(tag) || raw.is_closed(); }) && raw.has(tag);
  }

  Node* server_ = nullptr;
  SessionRequest request_;
};

TEST_F(SessionRequestTest, AnUnknownCookieIsAnsweredByAResetAndANewSessionMayFollow) {
  request_.cookie = {7, 7};
  request_.peer_cookie = {8, 8};
  raw_.send(FrameTag::kSessionReconnect, request_.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kSessionReset));
  request_.peer_cookie = {};
  raw_.send(FrameTag::kSessionNew, request_.encode());
  EXPECT_TRUE(raw_gets(FrameTag::kSessionReady));
  EXPECT_EQ(server_->events.opens, 1);
}

TEST_F(SessionRequestTest, AnotherPeerCannotTakeASessionByItsCookies) {
  const SessionReady ready = open();
  auto thief = another(raw_hello("client.b"));
  request_.peer_cookie = ready.cookie;
  request_.generation = ready.generation;
  thief->send(FrameTag::kSessionReconnect, request_.encode());
  EXPECT_TRUE(gets(*thief, FrameTag::kSessionReset));
  request_.peer_cookie = {};
  thief->send(FrameTag::kSessionNew, request_.encode());
  EXPECT_TRUE(gets(*thief, FrameTag::kHandshakeError));
  EXPECT_FALSE(raw_.is_closed());
  thief->close();
}

TEST_F(SessionRequestTest, AStaleLinkDoesNotReplaceANewerOne) {
  const SessionReady ready = open();
  auto stale = another(raw_hello("client.a"));
  request_.peer_cookie = ready.cookie;
  request_.generation = ready.generation - 1;
  stale->send(FrameTag::kSessionReconnect, request_.encode());
  ASSERT_TRUE(gets(*stale, FrameTag::kSessionRetry));
  const auto retry = SessionRetry::decode(stale->find(FrameTag::kSessionRetry)->front);
  EXPECT_EQ(retry->reason, RetryReason::kStaleGeneration);
  EXPECT_EQ(retry->generation, ready.generation);
  EXPECT_FALSE(raw_.is_closed());
  request_.generation = retry->generation;
  stale->send(FrameTag::kSessionReconnect, request_.encode());
  EXPECT_TRUE(gets(*stale, FrameTag::kSessionReady));
  EXPECT_TRUE(raw_is_closed()) << "replaced";
  EXPECT_EQ(server_->events.opens, 1);
  stale->close();
}

TEST_F(SessionRequestTest, ALostAnswerToANewSessionIsGivenAgain) {
  const SessionReady first = open();
  auto again = another(raw_hello("client.a"));
  request_.generation = first.generation;
  again->send(FrameTag::kSessionNew, request_.encode());
  ASSERT_TRUE(gets(*again, FrameTag::kSessionReady));
  const auto second = SessionReady::decode(again->find(FrameTag::kSessionReady)->front);
  EXPECT_EQ(second->cookie, first.cookie);
  EXPECT_GT(second->generation, first.generation);
  EXPECT_EQ(server_->events.opens, 1);
  again->close();
}

TEST_F(SessionRequestTest, ANewSessionIsNotOneThatWasUsed) {
  const SessionReady ready = open();
  raw_.send(FrameTag::kMessage, {}, 1);
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  auto liar = another(raw_hello("client.a"));
  request_.generation = ready.generation;
  liar->send(FrameTag::kSessionNew, request_.encode());
  EXPECT_TRUE(gets(*liar, FrameTag::kHandshakeError));
  liar->close();
}

TEST_F(SessionRequestTest, ASequenceNumberNeverSentIsAReset) {
  const SessionReady ready = open();
  auto raw = another(raw_hello("client.a"));
  request_.peer_cookie = ready.cookie;
  request_.generation = ready.generation;
  request_.in_seq = 5;
  raw->send(FrameTag::kSessionReconnect, request_.encode());
  EXPECT_TRUE(gets(*raw, FrameTag::kSessionReset));
  raw->close();
}

// After the handshake each of these ends the link of the peer, and has no other effect.
TEST_F(SessionRequestTest, AGapInTheNumbersBreaksTheLink) {
  open();
  raw_.send(FrameTag::kMessage, {}, 2);
  EXPECT_TRUE(raw_is_closed());
  EXPECT_TRUE(server_->events.received.empty());
}
TEST_F(SessionRequestTest, AMessageWithoutANumberBreaksTheLink) {
  open();
  raw_.send(FrameTag::kMessage, {}, 0);
  EXPECT_TRUE(raw_is_closed());
}
TEST_F(SessionRequestTest, ANumberedControlFrameBreaksTheLink) {
  open();
  raw_.send(FrameTag::kAck, {}, 1);
  EXPECT_TRUE(raw_is_closed());
}
TEST_F(SessionRequestTest, AnAckWithContentsBreaksTheLink) {
  open();
  raw_.send(FrameTag::kAck, {std::byte{0}});
  EXPECT_TRUE(raw_is_closed());
}
TEST_F(SessionRequestTest, AnAckOfWhatWasNeverSentBreaksTheLink) {
  open();
  raw_.send(FrameTag::kAck, {}, 0, 1);
  EXPECT_TRUE(raw_is_closed());
}
TEST_F(SessionRequestTest, AHandshakeFrameAfterTheHandshakeBreaksTheLink) {
  open();
  raw_.send(FrameTag::kHello, raw_hello("client.a").encode());
  EXPECT_TRUE(raw_is_closed());
  EXPECT_TRUE(server_->events.resets.empty()) << "the session lives on";
}
TEST_F(SessionRequestTest, AKeepaliveThatDoesNotParseBreaksTheLink) {
  open();
  raw_.send(FrameTag::kKeepalive, {std::byte{1}});
  EXPECT_TRUE(raw_is_closed());
}
TEST_F(SessionRequestTest, DataOnAControlFrameBreaksTheLink) {
  open();
  raw_.send_with_data(FrameTag::kAck, {}, "data");
  EXPECT_TRUE(raw_is_closed());
}
TEST_F(SessionRequestTest, AKeepaliveIsAnsweredWithItsTimes) {
  open();
  raw_.send(FrameTag::kKeepalive, Keepalive{42}.encode());
  ASSERT_TRUE(raw_gets(FrameTag::kKeepaliveAck));
  const auto ack = KeepaliveAck::decode(raw_.find(FrameTag::kKeepaliveAck)->front);
  EXPECT_EQ(ack->sent, 42u);
  EXPECT_LE(ack->received, ack->answered);
}
TEST_F(SessionRequestTest, AVoidTakesANumberAndDeliversNothing) {
  open();
  raw_.send(FrameTag::kVoid, {}, 1);
  raw_.send(FrameTag::kMessage, {}, 2);
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  EXPECT_FALSE(raw_.is_closed());
}

}  // namespace
}  // namespace lunar::msgr
