// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gmock/gmock.h>

#include "tests/common/temp_folder.h"
#include "tests/msgr/session/secure_fixture.h"

// What the keys of a keyring open, and what becomes of those who came in when it changes.

namespace lunar::msgr {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// Whoever has stolen what osd.1 holds.
class StolenKeysTest : public SecureFixture, public ::testing::WithParamInterface<const char*> {
 protected:
  // What a file says with other words in it.
  static Keyring edited(const Keyring& keyring, const std::string& from, const std::string& to) {
    const test::TempFolder folder;
    EXPECT_TRUE(keyring.save(folder / "keyring"));
    std::string text = folder.read("keyring");
    for (auto at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
      text.replace(at, from.size(), to);
    return std::move(*Keyring::parse(text, "edited"));
  }
  const Keyring stolen_ = keyring_.derived_for({"osd", "1"});
  // What else a thief may try with it.
  const Keyring as_if_own_ = edited(stolen_, "derived_for = osd.1", "caps = none");
  const Keyring as_if_for_osd_0_ = edited(stolen_, "derived_for = osd.1", "derived_for = osd.0");
};

TEST_P(StolenKeysTest, AServerWithDerivedKeysServesItsClients) {
  const Keyring derived = keyring_.derived_for({"osd", "0"});
  Node& server = add_server_of(GetParam(), "osd.0", derived);
  EXPECT_EQ(outcome(add_client_of(GetParam())), std::error_code());
  EXPECT_EQ(outcome(add_client_of(GetParam(), "osd.1")), std::error_code());
  shut_down(server);  // before its keyring goes
}

TEST_P(StolenKeysTest, NobodyBecomesAClientOrAnAdminByAServersKeys) {
  for (const bool serves_derived : {false, true}) {
    const Keyring held = keyring_.derived_for({"osd", "0"});
    Node& server = add_server_of(GetParam(), "osd.0", serves_derived ? held : keyring_);
    for (const char* victim : {"client.a", "client.admin", "osd.0"}) {
      for (const Keyring* keys : {&stolen_, &as_if_own_, &as_if_for_osd_0_}) {
        Node& thief = add_node(with_modes(with_auth(victim), GetParam()), keys);
        EXPECT_EQ(outcome(thief), MsgrErrc::kAuthFailed) << victim;
        shut_down(thief);
      }
    }
    EXPECT_EQ(server.events.opens, 0);
    shut_down(server);
  }
}

TEST_P(StolenKeysTest, NobodyBecomesAnotherServerByThem) {
  for (const Keyring* keys : {&stolen_, &as_if_own_, &as_if_for_osd_0_}) {
    Node& thief = add_server_of(GetParam(), "osd.0", *keys);
    for (const char* victim : {"client.a", "client.admin"}) {
      Node& client = add_client_of(GetParam(), victim);
      EXPECT_EQ(outcome(client), MsgrErrc::kAuthFailed) << victim;
      shut_down(client);
    }
    EXPECT_EQ(thief.events.opens, 0);
    shut_down(thief);
  }
}

TEST_P(StolenKeysTest, BothKeysOfAnEntityOpenWhileItsKeyIsChanged) {
  Keyring changed = keyring_of({"client.a", "osd.0"});
  const Keyring before = changed.derived_for({"client", "a"});  // has its own key
  changed.begin_rotation({"client", "a"});
  Node& server = add_server_of(GetParam(), "osd.0", changed);
  Node& old_client = add_node(with_modes(with_auth("client.a"), GetParam()), &before);
  EXPECT_EQ(outcome(old_client), std::error_code());
  Node& new_client = add_node(with_modes(with_auth("client.a"), GetParam()), &changed);
  EXPECT_EQ(outcome(new_client), std::error_code());
  changed.finish_rotation({"client", "a"});
  Node& late_client = add_node(with_modes(with_auth("client.a"), GetParam()), &before);
  EXPECT_EQ(outcome(late_client), MsgrErrc::kAuthFailed) << "the old key does not count any more";
  for (Node* node : {&old_client, &new_client, &late_client, &server}) shut_down(*node);
}

TEST_P(StolenKeysTest, AnEntityThatLeftTheKeyringLosesItsSessions) {
  Keyring keyring = keyring_.derived_for({"osd", "0"});
  Node& server = add_server_of(GetParam(), "osd.0", keyring);
  Node& client = add_client_of(GetParam());
  EXPECT_EQ(outcome(client), std::error_code());
  Node& other = add_client_of(GetParam(), "osd.1");
  EXPECT_EQ(outcome(other), std::error_code());
  ASSERT_TRUE(until([&] { return server.events.opens == 2; }));
  Keyring without;
  without.add({"osd", "1"}, keyring_.find({"osd", "1"})->clone());
  keyring = std::move(without);
  server.messenger->on_keys_changed();
  ASSERT_TRUE(until([&] { return client.events.resets.size() >= 2; }));
  EXPECT_EQ(client.events.resets[0], MsgrErrc::kClosedByPeer);
  EXPECT_EQ(client.events.resets[1], MsgrErrc::kAuthFailed);
  EXPECT_EQ(count(server, "sessions_revoked"), 1u);
  EXPECT_THAT(other.events.resets, IsEmpty());
  EXPECT_EQ(other.events.links_down, 0);
  for (Node* node : {&client, &other, &server}) shut_down(*node);
}

TEST_P(StolenKeysTest, ASessionOfAKeyThatIsNoMoreGoesOnWithTheNewOne) {
  Keyring servers = keyring_of({"client.a", "osd.0"});
  Keyring clients = servers.derived_for({"client", "a"});  // has its own key
  Node& server = add_server_of(GetParam(), "osd.0", servers);
  server.events.when_message = [](Connection& from, InMessage& message) {
    send(from, message.meta.tid, "reply");
  };
  Node& client = add_node(with_modes(with_auth("client.a"), GetParam()), &clients);
  ConnectionRef connection = client.messenger->connect(address_, Policy::kLosslessClient);
  uint64_t tid = 0;
  const auto echo = [&] {
    send(*connection, ++tid, "request");
    return until([&] { return client.events.received.size() == tid; });
  };
  ASSERT_TRUE(echo());
  servers.begin_rotation({"client", "a"});
  server.messenger->on_keys_changed();
  ASSERT_TRUE(echo());
  EXPECT_EQ(client.events.links_down, 0) << "both keys count";
  clients = servers.derived_for({"client", "a"});
  servers.finish_rotation({"client", "a"});
  server.messenger->on_keys_changed();
  ASSERT_TRUE(echo());
  EXPECT_EQ(client.events.links_down, 1);
  EXPECT_THAT(client.events.resets, IsEmpty());
  EXPECT_EQ(server.events.received.size(), tid);
  for (Node* node : {&client, &server}) shut_down(*node);
}

INSTANTIATE_TEST_SUITE_P(Modes, StolenKeysTest, ::testing::Values("crc", "secure"));

// Frame by frame, so that a handshake can be stopped anywhere.
class RawKeysTest : public SecureFixture {
 protected:
  // Says hello and, once there is a challenge, proves the key. Returns whether that was accepted.
  bool greet(const Hello& hello) {
    connect_raw();
    transcript_ = {};
    transcript_.add(FrameTag::kHello, hello.encode());
    raw_.send(FrameTag::kHello, hello.encode());
    return raw_gets(FrameTag::kAuthChallenge);
  }
  bool prove(const Secret& key) {
    for (const FrameTag tag : {FrameTag::kHello, FrameTag::kAuthChallenge})
      transcript_.add(tag, raw_.find(tag)->front);
    AuthProof proof;
    proof.proof = make_client_proof(key, transcript_, proof.challenge);
    raw_.send(FrameTag::kAuthProof, proof.encode());
    return raw_gets(FrameTag::kAuthDone);
  }
  bool gets_a_session() {
    SessionRequest request;
    request.cookie = {1, 1};
    raw_.send(FrameTag::kSessionNew, request.encode());
    return raw_gets(FrameTag::kSessionReady);
  }
  // Of a version that knows of no pair keys.
  static Hello old_hello() {
    Hello hello = raw_hello("client.a");
    hello.features_supported &= ~kFeaturePairKeys;
    return hello;
  }
  Secret pair_key() const {
    return std::move(keyring_.pair_keys({"client", "a"}, {"osd", "0"})[0]);
  }
  Transcript transcript_;
};

TEST_F(RawKeysTest, AnOlderVersionIsLetInByTheKeyItself) {
  add_server_of("crc");
  ASSERT_TRUE(greet(old_hello()));
  EXPECT_TRUE(prove(*keyring_.find({"client", "a"})));
  EXPECT_TRUE(gets_a_session());
}

TEST_F(RawKeysTest, AndNotByAPairKey) {
  add_server_of("crc");
  ASSERT_TRUE(greet(old_hello()));
  EXPECT_FALSE(prove(pair_key()));
}

TEST_F(RawKeysTest, ANewerVersionIsNotLetInByTheKeyItself) {
  add_server_of("crc");
  ASSERT_TRUE(greet(raw_hello("client.a")));
  EXPECT_FALSE(prove(*keyring_.find({"client", "a"})));
}

TEST_F(RawKeysTest, WhoHoldsDerivedKeysTellsAnOlderVersionWhatToDo) {
  const Keyring derived = keyring_.derived_for({"osd", "0"});
  Node& server = add_server_of("crc", "osd.0", derived);
  EXPECT_FALSE(greet(old_hello()));
  ASSERT_TRUE(raw_.error());
  EXPECT_EQ(raw_.error()->fault, HandshakeFault::kFeatureMismatch);
  EXPECT_THAT(raw_.error()->sentence,
              HasSubstr("osd.0 holds no keys of others but those that are derived for it"));
  EXPECT_THAT(raw_.error()->sentence,
              HasSubstr("upgrade client.a, or give osd.0 the keys themselves"));
  shut_down(server);
}

TEST_F(RawKeysTest, AHandshakeThatHasProvenAKeyEndsWithThatKey) {
  Keyring keyring = keyring_of({"client.b", "osd.0"});
  keyring.add({"client", "a"}, keyring_.find({"client", "a"})->clone());
  Node& server = add_server_of("crc", "osd.0", keyring);
  ASSERT_TRUE(greet(raw_hello("client.a")));
  ASSERT_TRUE(prove(pair_key()));
  server.messenger->on_keys_changed();
  EXPECT_FALSE(raw_.is_closed()) << "nothing has changed for it";
  keyring.remove({"client", "a"});
  server.messenger->on_keys_changed();
  EXPECT_TRUE(raw_is_closed());
  EXPECT_EQ(server.events.opens, 0);
  EXPECT_EQ(count(server, "auth_failed"), 1u);
  shut_down(server);
}

TEST_F(RawKeysTest, AHandshakeThatProvesAKeyTooLateIsRefused) {
  Keyring keyring = keyring_of({"osd.0"});
  keyring.add({"client", "a"}, keyring_.find({"client", "a"})->clone());
  Node& server = add_server_of("crc", "osd.0", keyring);
  ASSERT_TRUE(greet(raw_hello("client.a")));
  keyring.remove({"client", "a"});
  server.messenger->on_keys_changed();
  EXPECT_FALSE(prove(pair_key()));
  EXPECT_EQ(server.events.opens, 0);
  shut_down(server);
}

}  // namespace
}  // namespace lunar::msgr
