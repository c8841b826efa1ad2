// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session_exchange.h"

#include <gtest/gtest.h>

#include <memory>

namespace lunar::msgr {
namespace {

Greeted peer_named(std::string entity, uint64_t nonce = 1) {
  Greeted greeted;
  greeted.peer.entity = std::move(entity);
  greeted.peer.instance = "host";
  greeted.peer.nonce = nonce;
  return greeted;
}

// Two sides of a session, which tell each other what a handshake would.
class SessionExchangeTest : public ::testing::Test {
 protected:
  // What the server says to what the client asks; both then have a link.
  SessionReady connect() {
    const SessionRequest request = client_.make_request(Policy::kLosslessClient);
    EXPECT_EQ(judge(request), RequestVerdict::kWelcome);
    const SessionReady ready = server_.make_ready(request, Policy::kStatefulServer);
    EXPECT_TRUE(client_.accepts(ready));
    server_.begin(ready, request.cookie, request.in_seq, Policy::kStatefulServer);
    client_.begin(ready, ready.cookie, ready.in_seq, Policy::kLosslessClient);
    return ready;
  }
  RequestVerdict judge(const SessionRequest& request, const std::string& entity = "client.a") {
    return server_.judge(request, peer_named(entity), known_);
  }
  // A message of the client's that was given to a link, which is closed since.
  void send_one() {
    client_.queue().push(std::make_unique<SimpleMessage>(MessageMeta{1, Priority::kDefault, 7, 0},
                                                         std::vector<std::byte>()));
    client_.queue().sent(client_.queue().take_next().seq, true);
  }

  SessionExchange client_;
  SessionExchange server_;
  PeerIdentity known_{"client.a", "host", 1, false, Address(), false};
};

TEST_F(SessionExchangeTest, ANewSessionBeginsWithGenerationOne) {
  EXPECT_TRUE(client_.make_request(Policy::kLosslessClient).is_new());
  const SessionReady ready = connect();
  EXPECT_EQ(ready.generation, 1u);
  EXPECT_TRUE(client_.exists() && server_.exists());
  EXPECT_EQ(client_.peer_cookie(), ready.cookie);
}

TEST_F(SessionExchangeTest, AnotherLinkContinuesTheSessionAndReplaysWhatThePeerLacks) {
  connect();
  send_one();
  const SessionRequest request = client_.make_request(Policy::kLosslessClient);
  EXPECT_FALSE(request.is_new());
  EXPECT_EQ(judge(request), RequestVerdict::kWelcome);
  const SessionReady ready = server_.make_ready(request, Policy::kStatefulServer);
  EXPECT_EQ(ready.generation, 2u);
  EXPECT_TRUE(client_.accepts(ready));
  EXPECT_EQ(client_.begin(ready, ready.cookie, ready.in_seq, Policy::kLosslessClient), 1u);
}

TEST_F(SessionExchangeTest, AnAnswerThatCannotBeTrueIsNotAccepted) {
  SessionReady ready = connect();
  ready.generation = 2;
  EXPECT_TRUE(client_.accepts(ready));
  ready.in_seq = 1;
  EXPECT_FALSE(client_.accepts(ready)) << "it has what was never sent";
  ready.in_seq = 0;
  ready.generation = 1;
  EXPECT_FALSE(client_.accepts(ready)) << "a link that was there before";
  ready.generation = 2;
  ready.cookie = {9, 9};
  EXPECT_FALSE(client_.accepts(ready)) << "another session";
}

TEST_F(SessionExchangeTest, ARequestOfBeforeTheNewestLinkIsStale) {
  connect();
  SessionRequest request = client_.make_request(Policy::kLosslessClient);
  request.generation = 0;
  EXPECT_EQ(judge(request), RequestVerdict::kStale);
  client_.raise_generation(5);
  EXPECT_EQ(client_.make_request(Policy::kLosslessClient).generation, 5u);
}

TEST_F(SessionExchangeTest, OnlyThePeerItselfContinuesASession) {
  connect();
  const SessionRequest request = client_.make_request(Policy::kLosslessClient);
  EXPECT_EQ(judge(request, "client.b"), RequestVerdict::kUnknown);
  EXPECT_EQ(server_.judge(request, peer_named("client.a", 2), known_), RequestVerdict::kUnknown)
      << "another start of it";
  SessionRequest anew;
  anew.cookie = {9, 9};
  EXPECT_EQ(judge(anew, "client.b"), RequestVerdict::kUnknown);
  EXPECT_EQ(judge(anew), RequestVerdict::kWelcome);
}

TEST_F(SessionExchangeTest, APeerThatStartedAnewSupersedesTheSession) {
  connect();
  SessionRequest anew;
  anew.cookie = {9, 9};
  EXPECT_TRUE(server_.is_superseded_by(anew));
  EXPECT_FALSE(server_.is_superseded_by(client_.make_request(Policy::kLosslessClient)));
}

TEST_F(SessionExchangeTest, AResetForgetsTheSessionButNotTheGeneration) {
  connect();
  const SessionRequest old = client_.make_request(Policy::kLosslessClient);
  send_one();
  server_.in_seq() = 1;
  EXPECT_EQ(server_.progress(), 1u);
  server_.reset();
  client_.reset();
  EXPECT_EQ(server_.progress(), 0u);
  EXPECT_FALSE(server_.exists());
  EXPECT_EQ(judge(old), RequestVerdict::kUnknown);
  EXPECT_TRUE(client_.queue().is_idle());
  const SessionRequest request = client_.make_request(Policy::kLosslessClient);
  EXPECT_TRUE(request.is_new());
  EXPECT_EQ(request.generation, 1u);
  EXPECT_NE(request.cookie, old.cookie);
}

TEST_F(SessionExchangeTest, EitherSideMakesItLossy) {
  const SessionRequest lossy = client_.make_request(Policy::kLossyClient);
  EXPECT_TRUE(server_.make_ready(lossy, Policy::kStatefulServer).lossy);
  const SessionRequest lossless = client_.make_request(Policy::kLosslessClient);
  EXPECT_FALSE(server_.make_ready(lossless, Policy::kStatefulServer).lossy);
  const SessionReady ready = server_.make_ready(lossless, Policy::kStatelessServer);
  EXPECT_TRUE(ready.lossy);
  client_.begin(ready, ready.cookie, 0, Policy::kLosslessClient);
  EXPECT_TRUE(client_.is_lossy());
}

}  // namespace
}  // namespace lunar::msgr
