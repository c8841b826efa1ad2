// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gmock/gmock.h>

#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {
namespace {

using namespace std::chrono_literals;

// Two servers that connect to each other. low_ listens on the lower port: it loses races.
class LosslessPeerTest : public SessionFixture {
 protected:
  void SetUp() override {
    low_ = &add_peer("osd.1", "127.0.0.1:6801");
    high_ = &add_peer("osd.2", "127.0.0.1:6802");
  }
  Node& add_peer(std::string entity, const char* address, uint64_t nonce = 1) {
    MessengerOptions options = quick_options(std::move(entity));
    options.nonce = nonce;
    options.session_timeout = 10s;
    Node& node = add_node(options);
    EXPECT_TRUE(node.messenger->bind(*Address::parse(address), Policy::kLosslessPeer).has_value());
    return node;
  }
  ConnectionRef connect(Node& from, const char* address) {
    return from.messenger->connect(*Address::parse(address), Policy::kLosslessPeer);
  }
  void expect_one_session() {
    EXPECT_EQ(low_->events.opens, 1);
    EXPECT_EQ(high_->events.opens, 1);
    EXPECT_TRUE(low_->events.resets.empty());
    EXPECT_TRUE(high_->events.resets.empty());
    EXPECT_EQ(low_->messenger->connections().size(), 1u);
    EXPECT_EQ(high_->messenger->connections().size(), 1u);
  }
  static std::vector<uint64_t> tids(const Node& node) {
    std::vector<uint64_t> all;
    for (const auto& received : node.events.received) all.push_back(received.tid);
    return all;
  }

  Node* low_ = nullptr;
  Node* high_ = nullptr;
};

TEST_F(LosslessPeerTest, OneSideConnectsAndBothSend) {
  auto connection = connect(*low_, "127.0.0.1:6802");
  send(*connection, 1, "up");
  ASSERT_TRUE(until([&] { return high_->events.received.size() == 1; }));
  EXPECT_EQ(high_->events.last->target(), *Address::parse("127.0.0.1:6801"));
  EXPECT_EQ(connect(*high_, "127.0.0.1:6801").get(), high_->events.last) << "it is the same peer";
  send(*high_->events.last, 2, "down");
  ASSERT_TRUE(until([&] { return low_->events.received.size() == 1; }));
  expect_one_session();
}

TEST_F(LosslessPeerTest, BothConnectAtOnceAndOneLinkRemains) {
  auto from_low = connect(*low_, "127.0.0.1:6802");
  auto from_high = connect(*high_, "127.0.0.1:6801");
  for (uint64_t tid = 1; tid <= 20; ++tid) {
    send(*from_low, tid, "up");
    send(*from_high, tid, "down");
  }
  ASSERT_TRUE(until(
      [&] { return low_->events.received.size() == 20 && high_->events.received.size() == 20; }));
  settle();
  expect_one_session();
  EXPECT_TRUE(from_low->has_link());
  EXPECT_TRUE(from_high->has_link());
  EXPECT_EQ(low_->events.links_up - low_->events.links_down, 1);
}

TEST_F(LosslessPeerTest, BothConnectInTheOtherOrder) {
  auto from_high = connect(*high_, "127.0.0.1:6801");
  auto from_low = connect(*low_, "127.0.0.1:6802");
  send(*from_low, 1, "up");
  send(*from_high, 1, "down");
  ASSERT_TRUE(until(
      [&] { return low_->events.received.size() == 1 && high_->events.received.size() == 1; }));
  settle();
  expect_one_session();
}

TEST_F(LosslessPeerTest, BothReconnectAtOnceAndNothingIsLostOrDoubled) {
  auto from_low = connect(*low_, "127.0.0.1:6802");
  auto from_high = connect(*high_, "127.0.0.1:6801");
  uint64_t tid = 0;
  for (int round = 0; round < 25; ++round) {
    injector_.cut_next_send = true;
    for (int i = 0; i < 4; ++i) {
      ++tid;
      send(*from_low, tid, std::string(500, 'u'));
      send(*from_high, tid, std::string(500, 'd'));
    }
    ASSERT_TRUE(until([&] {
      return low_->events.received.size() == tid && high_->events.received.size() == tid;
    })) << round;
  }
  std::vector<uint64_t> expected(tid);
  for (uint64_t i = 0; i < tid; ++i) expected[i] = i + 1;
  EXPECT_EQ(tids(*low_), expected);
  EXPECT_EQ(tids(*high_), expected);
  expect_one_session();
}

TEST_F(LosslessPeerTest, TheSideThatWasConnectedToReconnectsWhenItHasToSend) {
  auto connection = connect(*low_, "127.0.0.1:6802");
  ASSERT_TRUE(until([&] { return high_->events.opens == 1; }));
  injector_.refuse[*Address::parse("127.0.0.1:6802")] = true;  // low cannot come back
  injector_.cut_next_send = true;
  send(*connection, 1, std::string(500, 'u'));
  ASSERT_TRUE(until([&] { return high_->events.links_down == 1; }));
  const int before = injector_.connects;
  send(*high_->events.last, 2, "down");
  ASSERT_TRUE(until([&] { return low_->events.received.size() == 1; }));
  ASSERT_TRUE(until([&] { return high_->events.received.size() == 1; }));
  EXPECT_GT(injector_.connects, before);
  expect_one_session();
}

TEST_F(LosslessPeerTest, APeerThatStartedAnewResetsTheSessionOfTheOther) {
  auto connection = connect(*low_, "127.0.0.1:6802");
  ASSERT_TRUE(until([&] { return high_->events.opens == 1 && low_->events.opens == 1; }));
  injector_.black_hole = true;
  shut_down(*high_);
  injector_.black_hole = false;
  high_ = &add_peer("osd.2", "127.0.0.1:6802", 2);
  auto back = connect(*high_, "127.0.0.1:6801");
  ASSERT_TRUE(until([&] { return low_->events.opens == 2 && high_->events.opens == 1; }));
  EXPECT_THAT(low_->events.resets,
              ::testing::ElementsAre(make_error_code(MsgrErrc::kSessionReset)));
  send(*connection, 1, "up");
  send(*back, 1, "down");
  ASSERT_TRUE(until(
      [&] { return low_->events.received.size() == 1 && high_->events.received.size() == 1; }));
  EXPECT_EQ(low_->messenger->connections().size(), 1u);
}

// The side that was connected to has no reason to connect again but what it has not got rid of:
// once it hears that the peer has started anew, its session has ended, and no other one begins.
TEST_F(LosslessPeerTest, ASessionThatEndsWhileItReconnectsAdoptsNoLink) {
  auto connection = connect(*low_, "127.0.0.1:6802");
  ASSERT_TRUE(until([&] { return high_->events.opens == 1 && low_->events.opens == 1; }));
  injector_.black_hole = true;
  shut_down(*low_);
  injector_.black_hole = false;
  low_ = &add_peer("osd.1", "127.0.0.1:6801", 2);
  injector_.cut_next_send = true;
  send(*high_->events.last, 1, "nobody hears it");
  ASSERT_TRUE(until([&] { return high_->events.resets.size() == 1; }));
  settle();
  EXPECT_EQ(high_->events.opens, 1);
  EXPECT_TRUE(high_->messenger->connections().empty());
  shut_down(*high_);  // ends, because no link of an ended session is left
}

TEST_F(LosslessPeerTest, APeerWithoutAReasonToComeBackIsForgotten) {
  MessengerOptions options = quick_options("osd.3");
  options.session_timeout = 30ms;
  Node& third = add_node(options);
  ASSERT_TRUE(third.messenger->bind(*Address::parse("127.0.0.1:6803"), Policy::kLosslessPeer));
  auto connection = connect(*low_, "127.0.0.1:6803");
  ASSERT_TRUE(until([&] { return third.events.opens == 1; }));
  injector_.refuse[*Address::parse("127.0.0.1:6803")] = true;
  injector_.cut_next_send = true;
  send(*connection, 1, std::string(500, 'x'));
  ASSERT_TRUE(until([&] { return third.events.resets.size() == 1; }));
  EXPECT_EQ(third.events.resets[0], make_error_code(MsgrErrc::kTimedOut));
}

TEST_F(LosslessPeerTest, APlainClientOfAPeersPortHasASessionOfItsOwn) {
  Node& client = add_node(quick_options("client.a"));
  auto connection =
      client.messenger->connect(*Address::parse("127.0.0.1:6801"), Policy::kLosslessClient);
  send(*connection, 1, "hello");
  ASSERT_TRUE(until([&] { return low_->events.received.size() == 1; }));
  EXPECT_TRUE(low_->events.last->target().is_unset());
}

}  // namespace
}  // namespace lunar::msgr
