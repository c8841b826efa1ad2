// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gmock/gmock.h>

#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

// Connection::withdraw() in each state a message can be in.
class WithdrawTest : public SessionFixture {
 protected:
  void SetUp() override {
    server_ = &add_server();
    client_ = &add_node(quick_options("client.a"));
  }
  void open() {
    connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
    ASSERT_TRUE(until([&] { return client_->events.opens == 1 && server_->events.opens == 1; }));
  }
  void withdraw(uint64_t tid) {
    connection_->withdraw(tid, [this] { ++done_; });
  }

  Node* server_ = nullptr;
  Node* client_ = nullptr;
  ConnectionRef connection_;
  int done_ = 0;
};

TEST_F(WithdrawTest, AQueuedMessageIsNeverSent) {
  connection_ = client_->messenger->connect(address_, Policy::kLosslessClient);
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), "gone"));
  send(*connection_, 2, "stays");
  withdraw(1);
  EXPECT_EQ(done_, 0) << "never inside the call";
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_EQ(server_->events.received[0].tid, 2u);
  EXPECT_TRUE(probe_.encoded_for.empty());
}

TEST_F(WithdrawTest, ASentMessageIsReplayedAsAVoid) {
  open();
  injector_.cut_next_send = true;  // half of it is sent, then the link ends
  connection_->send(std::make_unique<ProbeMessage>(probe_, meta(1), std::string(1000, 'x')));
  send(*connection_, 2, "stays");
  ASSERT_TRUE(until([&] { return client_->events.links_down == 1; }));
  withdraw(1);
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  EXPECT_EQ(server_->events.received[0].tid, 2u);
  EXPECT_EQ(done_, 1);
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_EQ(probe_.encoded_for.size(), 1u);
  send(*connection_, 3, "goes on");
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 2; }));
  EXPECT_TRUE(client_->events.resets.empty());
}

TEST_F(WithdrawTest, AMessageBeingSentIsWaitedFor) {
  open();
  connection_->send(
      std::make_unique<ProbeMessage>(probe_, meta(1), "", std::string(1'000'000, 'x')));
  withdraw(1);
  EXPECT_EQ(probe_.alive, 1) << "the link reads it";
  ASSERT_TRUE(until([&] { return done_ == 1; }));
  EXPECT_EQ(probe_.alive, 0);
  EXPECT_EQ(client_->events.links_down, 0);
}

TEST_F(WithdrawTest, ALinkStuckInAMessageIsDroppedForIt) {
  open();
  injector_.stop_sending_above = 1000;
  connection_->send(
      std::make_unique<ProbeMessage>(probe_, meta(1), "", std::string(1'000'000, 'x')));
  send(*connection_, 2, "stays");
  settle();
  withdraw(1);
  ASSERT_TRUE(until([&] { return done_ == 1; }));
  EXPECT_EQ(probe_.alive, 0);
  injector_.stop_sending_above = 0;
  injector_.black_hole = false;
  ASSERT_TRUE(until([&] { return server_->events.received.size() == 1; }));
  EXPECT_EQ(server_->events.received[0].tid, 2u);
  EXPECT_TRUE(client_->events.resets.empty());
}

TEST_F(WithdrawTest, AnArrivingPayloadIsTurnedAway) {
  open();
  std::vector<std::byte> memory(1'000'000);
  client_->events.place = [&](const MessageMeta&, std::size_t bytes) {
    return Bytes(memory).first(bytes);
  };
  injector_.stop_sending_above = 300'000;  // the rest of the reply is on its way
  server_->events.last->send(
      std::make_unique<ProbeMessage>(reply_, meta(7), "", std::string(1'000'000, 'r')));
  ASSERT_TRUE(until([&] { return memory[0] == std::byte{'r'}; }));
  withdraw(7);
  ASSERT_TRUE(until([&] { return done_ == 1; }));
  std::fill(memory.begin(), memory.end(), std::byte{'-'});
  const std::vector<std::byte> mine = memory;
  injector_.stop_sending_above = 0;
  injector_.black_hole = false;
  server_->events.last->withdraw(7, [] {});  // the link is dropped for it, and no longer stuck
  send(*server_->events.last, 8, "next");
  ASSERT_TRUE(until([&] { return client_->events.received.size() == 1; }));
  EXPECT_EQ(client_->events.received[0].tid, 8u);
  EXPECT_EQ(memory, mine) << "memory was written after withdraw() was done";
}

TEST_F(WithdrawTest, AnAbandonedPayloadIsNotSentAgain) {
  open();
  std::vector<std::byte> memory(200'000);
  int asked = 0;
  client_->events.place = [&](const MessageMeta& of, std::size_t bytes) {
    if (++asked == 1) withdraw(of.tid + 1);  // another one: no effect
    return Bytes(memory).first(bytes);
  };
  injector_.stop_sending_above = 100'000;
  server_->events.last->send(
      std::make_unique<ProbeMessage>(reply_, meta(7), "", std::string(200'000, 'r')));
  ASSERT_TRUE(until([&] { return memory[0] == std::byte{'r'}; }));
  withdraw(7);
  ASSERT_TRUE(until([&] { return done_ == 2; }));
  injector_.stop_sending_above = 0;
  injector_.black_hole = false;
  // The link breaks during the withdrawn message, so the replay begins after it.
  server_->events.last->withdraw(7, [] {});
  ASSERT_TRUE(until([&] { return client_->events.links_up == 2; }));
  ASSERT_TRUE(until([&] { return reply_.alive == 0; }));
  EXPECT_EQ(asked, 1);
  EXPECT_TRUE(client_->events.received.empty());
}

TEST_F(WithdrawTest, IsDoneWhenTheSessionEndsFirst) {
  open();
  injector_.stop_sending_above = 1000;
  connection_->send(
      std::make_unique<ProbeMessage>(probe_, meta(1), "", std::string(1'000'000, 'x')));
  settle();
  withdraw(1);
  connection_->close();
  ASSERT_TRUE(until([&] { return done_ == 1; }));
  EXPECT_EQ(probe_.alive, 0);
}

// How long a link may take.
class WithdrawTimeTest : public WithdrawTest {
 protected:
  void TearDown() override { injector_.delay = {}; }
  void send_slowly(uint64_t tid) {
    injector_.delay = 40ms;
    connection_->send(std::make_unique<ProbeMessage>(probe_, meta(tid), "slow"));
    settle();
  }
};

TEST_F(WithdrawTimeTest, TheTimeOfOneWithdrawalIsNotThatOfTheNext) {
  open();
  send_slowly(1);
  withdraw(1);
  pass(40ms);
  EXPECT_EQ(done_, 1);
  send_slowly(2);
  withdraw(2);
  pass(20ms);  // 60 ms after the first
  EXPECT_EQ(client_->events.links_down, 0);
  EXPECT_EQ(done_, 1);
  pass(20ms);
  EXPECT_EQ(done_, 2);
  pass(100ms);
  EXPECT_EQ(client_->events.links_down, 0);
}

TEST_F(WithdrawTimeTest, OfTwoThatWaitTheSecondHasItsOwnTime) {
  open();
  send_slowly(1);
  withdraw(1);
  injector_.stop_sending_above = 1000;  // all of the first, not all of the second
  connection_->send(
      std::make_unique<ProbeMessage>(probe_, meta(2), "stuck", std::string(100'000, 'x')));
  pass(30ms);
  withdraw(2);
  pass(10ms);
  EXPECT_EQ(done_, 1);
  injector_ = {};  // the link is stuck; the next one is not
  pass(39ms);
  EXPECT_EQ(client_->events.links_down, 0) << "49 ms";
  pass(1ms);
  EXPECT_EQ(client_->events.links_down, 1);
  EXPECT_EQ(done_, 2);
  pass(10ms);  // the backoff
  EXPECT_EQ(client_->events.links_up, 2);
}

}  // namespace
}  // namespace lunar::msgr
