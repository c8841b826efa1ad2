// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstring>

#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {
namespace {

// Exposes memory when it is encoded, as an op with one-sided delivery does.
class ExposingMessage final : public OutMessage {
 public:
  ExposingMessage(MessageMeta meta, const RegisteredBuffer& memory, RemoteKey& key)
      : OutMessage(meta), memory_(memory), key_(key) {}
  void encode(Link& link, uint64_t link_generation, EncodedMessage&) override {
    const auto length = static_cast<uint32_t>(memory_.bytes().size());
    const auto key = link.expose({&memory_, 0, length}, RemoteAccess::kWrite);
    ASSERT_TRUE(key);
    key_ = *key;
    key_.link_generation = link_generation;
  }

 private:
  const RegisteredBuffer& memory_;
  RemoteKey& key_;
};

// Keys to memory of the client, which the server uses.
class RemoteKeyTest : public SessionFixture {
 protected:
  void SetUp() override {
    server_ = &add_server();
    server_->events.when_message = [this](Connection&, InMessage& message) {
      arrived_on_ = message.link_generation;
    };
    client_ = &add_node(quick_options("client.a"));
    connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
    ASSERT_TRUE(until([&] { return client_->events.opens == 1 && server_->events.opens == 1; }));
    memory_ = stack_.buffers().allocate(4096);
    staging_ = stack_.buffers().allocate(4096);
    std::memset(memory_.bytes().data(), 1, 4096);
    std::memset(staging_.bytes().data(), 2, 4096);
  }
  void TearDown() override {
    for (auto& node : nodes_) shut_down(*node);
    EXPECT_EQ(stack_.keys_out(), 0u);
    memory_ = {};
    staging_ = {};
  }
  void expose() {
    connection_->send(std::make_unique<ExposingMessage>(meta(1), memory_, key_));
    ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  }
  void write() {
    server_->events.last->remote_write({&staging_, 0, 4096}, key_,
                                       [this](std::error_code error) { written_ = error; });
  }
  void revoke() {
    connection_->revoke(key_, [this] { ++revoked_; });
  }
  std::byte first() const { return memory_.bytes()[0]; }

  Node* server_ = nullptr;
  Node* client_ = nullptr;
  ConnectionRef connection_;
  RegisteredBuffer memory_;
  RegisteredBuffer staging_;
  RemoteKey key_;
  uint64_t arrived_on_ = 0;
  std::optional<std::error_code> written_;
  int revoked_ = 0;
};

TEST_F(RemoteKeyTest, WhatWasWrittenIsThereWhenTheNextMessageIs) {
  expose();
  EXPECT_EQ(arrived_on_, key_.link_generation);
  EXPECT_EQ(server_->events.last->link_generation(), key_.link_generation);
  EXPECT_TRUE(server_->events.last->peer().one_sided);
  std::byte seen{0};
  client_->events.when_message = [&](Connection&, InMessage&) { seen = first(); };
  write();
  send(*server_->events.last, 1, "behind it");
  ASSERT_TRUE(until([&] { return client_->events.received.size() == 1; }));
  EXPECT_EQ(seen, std::byte{2});
  settle();
  EXPECT_EQ(written_, std::error_code());
}

TEST_F(RemoteKeyTest, DescriptorsAreForTwoEndsThatBothWantThem) {
  for (const bool client_wants : {true, false}) {
    MessengerOptions options = quick_options(client_wants ? "client.b" : "client.c");
    options.one_sided = client_wants;
    Node& node = add_node(options);
    const ConnectionRef connection = node.messenger->connect(address_, Policy::kLosslessClient);
    ASSERT_TRUE(until([&] { return node.events.opens == 1; }));
    ASSERT_TRUE(until([&] { return server_->events.last->peer().entity == options.entity; }));
    EXPECT_EQ(connection->peer().one_sided, client_wants);
    EXPECT_EQ(server_->events.last->peer().one_sided, client_wants);
    EXPECT_EQ(connection->link_capabilities().one_sided, client_wants);
    EXPECT_EQ(server_->events.last->link_capabilities().one_sided, client_wants);
  }
}

TEST_F(RemoteKeyTest, ARevokedKeyOpensNothingAndTheLinkLives) {
  expose();
  revoke();
  EXPECT_EQ(revoked_, 0) << "never inside the call";
  settle();
  EXPECT_EQ(revoked_, 1);
  EXPECT_EQ(stack_.keys_out(), 0u);
  EXPECT_TRUE(connection_->has_link());
  write();
  settle();
  EXPECT_TRUE(*written_);
  EXPECT_EQ(first(), std::byte{1});
}

TEST_F(RemoteKeyTest, WhereOnlyTheEndOfTheLinkHelpsTheLinkIsDropped) {
  expose();
  const uint64_t generation = key_.link_generation;
  injector_.refuse_revoke = std::make_error_code(std::errc::operation_not_supported);
  int links_down_before = client_->events.links_down;
  connection_->revoke(key_, [&] {
    ++revoked_;
    EXPECT_EQ(client_->events.links_down, links_down_before + 1);
    EXPECT_EQ(stack_.keys_out(), 0u);
  });
  ASSERT_TRUE(until([&] { return revoked_ == 1; }));
  ASSERT_TRUE(
      until([&] { return client_->events.links_up == 2 && server_->events.links_up == 2; }));
  EXPECT_TRUE(client_->events.resets.empty());
  write();
  settle();
  EXPECT_EQ(*written_, make_error_code(MsgrErrc::kStaleKey));
  EXPECT_NE(server_->events.last->link_generation(), generation);
  EXPECT_TRUE(server_->events.last->has_link()) << "a stale key breaks nothing";
}

TEST_F(RemoteKeyTest, AKeyOfALinkThatIsGoneIsTakenBackAtOnce) {
  expose();
  injector_.cut_next_send = true;
  send(*connection_, 2, "cut");
  ASSERT_TRUE(until([&] { return client_->events.links_down == 1; }));
  EXPECT_EQ(stack_.keys_out(), 0u);
  revoke();
  settle();
  EXPECT_EQ(revoked_, 1);
  ASSERT_TRUE(until([&] { return client_->events.links_up == 2; }));
  connection_->revoke(key_, [this] { ++revoked_; });
  settle();
  EXPECT_EQ(revoked_, 2);
}

TEST_F(RemoteKeyTest, ClosingTheSessionSettlesARevocation) {
  expose();
  injector_.refuse_revoke = std::make_error_code(std::errc::operation_not_supported);
  revoke();
  connection_->close();
  ASSERT_TRUE(until([&] { return revoked_ == 1; }));
  EXPECT_EQ(stack_.keys_out(), 0u);
}

TEST_F(RemoteKeyTest, AMessageThatIsReplayedIsEncodedForTheNewLink) {
  send(*connection_, 7, "before");
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  injector_.cut_next_send = true;
  connection_->send(std::make_unique<ExposingMessage>(meta(1), memory_, key_));
  const uint64_t lost = key_.link_generation;
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 2; }));
  EXPECT_GT(key_.link_generation, lost);
  EXPECT_EQ(arrived_on_, key_.link_generation);
  EXPECT_EQ(stack_.keys_out(), 1u) << "the first went with its link";
  revoke();
  settle();
}

}  // namespace
}  // namespace lunar::msgr
