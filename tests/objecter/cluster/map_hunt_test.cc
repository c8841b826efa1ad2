// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/cluster/map_hunt.h"

#include <algorithm>

#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

using Addresses = std::vector<msgr::Address>;

// A seeker that sends nothing, and chooses only when the test tells it to.
class MapHuntTest : public ObjecterFixture, private msgr::Dispatcher, private MapSeeker {
 protected:
  void hunt_among(int count, HuntPace pace = {200ms, 3s, 4}) {
    start_servers(count);
    for (int id = 0; id < count; ++id) where.push_back(osd(id).address());
    make_hunt(pace);
    hunt->start();
    settle();
  }
  void make_hunt(HuntPace pace) {
    messenger = std::move(*msgr::Messenger::create(*center, *stack, client_options, nullptr, &perf,
                                                   static_cast<msgr::Dispatcher*>(this)));
    table.set_messenger(messenger.get());
    hunt = std::make_unique<MapHunt>(*center, table, static_cast<MapSeeker&>(*this), pace);
  }
  void TearDown() override {
    hunt.reset();
    bool is_down = false;
    messenger->shutdown([&] { is_down = true; });
    for (int i = 0; i < 100 && !is_down; ++i) pass(50ms);
    EXPECT_TRUE(is_down);
    ObjecterFixture::TearDown();
  }
  // The servers with a connection, in the order of addresses.
  Addresses connected() const {
    Addresses all;
    table.for_each([&](const ServerConnection& server) { all.push_back(server.address()); });
    return all;
  }
  Addresses addresses_of(std::vector<int> ids) {
    Addresses all;
    for (const int id : ids) all.push_back(osd(id).address());
    std::sort(all.begin(), all.end());
    return all;
  }
  // Whether it is the source now.
  bool choose_server(int id) {
    const ServerRef server = table.get(osd(id).address());
    hunt->choose(server);
    return hunt->source() == server;
  }

  Addresses where;
  std::vector<msgr::Address> asked;  // again, in turn, because they had sent their hello
  std::unique_ptr<msgr::Messenger> messenger;
  ServerTable table;
  std::unique_ptr<MapHunt> hunt;

 private:
  std::vector<msgr::Address> candidates() const override { return where; }
  void ask(ServerConnection& server) override { asked.push_back(server.address()); }
  void on_open(msgr::Connection& connection) override { table.of(connection)->on_open(); }
  void on_message(msgr::Connection& connection, msgr::InMessage message) override {
    if (const auto hello = decode_server_hello(message.front))
      table.of(connection)->on_hello(*hello);
  }
  void on_reset(msgr::Connection& connection, std::error_code why) override {
    if (const ServerRef server = table.of(connection)) server->on_reset(why);
  }
};

TEST_F(MapHuntTest, ConnectsToOneCandidateMoreAtEachStagger) {
  hunt_among(3);
  EXPECT_EQ(connected(), addresses_of({0}));
  pass(190ms);
  EXPECT_EQ(connected(), addresses_of({0}));
  pass(20ms);
  EXPECT_EQ(connected(), addresses_of({0, 1}));
  pass(200ms);
  EXPECT_EQ(connected(), addresses_of({0, 1, 2}));
  EXPECT_EQ(hunt->source(), nullptr);
  EXPECT_EQ(hunt->last_asked()->address(), osd(2).address());
}

TEST_F(MapHuntTest, LetsGoOfTheOthersWhenOneAnswers) {
  hunt_among(3);
  pass(210ms);
  EXPECT_TRUE(choose_server(0));
  ASSERT_NE(hunt->source(), nullptr);
  EXPECT_EQ(hunt->source()->address(), osd(0).address());
  EXPECT_EQ(hunt->last_asked(), nullptr);
  EXPECT_EQ(connected(), addresses_of({0}));
  pass(10s);
  EXPECT_EQ(connected(), addresses_of({0})) << "nobody else is asked any more";
}

TEST_F(MapHuntTest, BelievesOnlyWhomItAsked) {
  hunt_among(2);
  const ServerRef other = table.get(osd(1).address());
  EXPECT_FALSE(hunt->holds(*other));
  EXPECT_FALSE(choose_server(1));
  EXPECT_EQ(hunt->source(), nullptr);
  EXPECT_TRUE(choose_server(0));
  EXPECT_FALSE(choose_server(1)) << "there is a source already";
  EXPECT_TRUE(hunt->holds(*hunt->source()));
  EXPECT_TRUE(hunt->holds(hunt->source()->connection()));
  EXPECT_FALSE(hunt->holds(other->connection()));
}

TEST_F(MapHuntTest, AsksAgainInTurnWhenAllAreConnected) {
  hunt_among(2);
  pass(410ms);
  EXPECT_EQ(asked, (Addresses{osd(0).address()}));
  pass(2900ms);
  EXPECT_EQ(asked.size(), 1u) << "slowly from now on";
  pass(200ms);
  EXPECT_EQ(asked, (Addresses{osd(0).address(), osd(1).address()}));
}

TEST_F(MapHuntTest, DoesNotAskAServerThatHasNotSaidHello) {
  start_servers(1);
  osd(0).says_hello = false;
  where = {osd(0).address()};
  make_hunt({200ms, 3s, 4});
  hunt->start();
  pass(10s);
  EXPECT_EQ(asked, Addresses{});
  EXPECT_EQ(osd(0).sessions, 1u) << "one connection all the time";
}

TEST_F(MapHuntTest, TheOneAskedLongestGoesWhenTooManyAreAsked) {
  hunt_among(3, {200ms, 3s, 2});
  pass(210ms);
  EXPECT_EQ(connected(), addresses_of({0, 1}));
  pass(200ms);
  EXPECT_EQ(connected(), addresses_of({1, 2}));
  pass(1500ms);
  EXPECT_EQ(connected(), addresses_of({0, 2})) << "each is asked for 3 s";
}

TEST_F(MapHuntTest, ManyCandidatesAreAllAskedWithinARound) {
  start_servers(1);
  for (uint16_t port = 1; port <= 32; ++port) where.push_back(msgr::Address::loopback(port));
  where.push_back(osd(0).address());
  make_hunt({200ms, 3s, 40});
  hunt->start();
  pass(HuntPace::kRound + 500ms);  // the clock moves by 10 ms
  EXPECT_EQ(connected().size(), where.size());
  EXPECT_TRUE(choose_server(0));
}

TEST_F(MapHuntTest, ADroppedSourceIsTriedLast) {
  hunt_among(3);
  ASSERT_TRUE(choose_server(0));
  hunt->drop_source();
  EXPECT_EQ(hunt->source(), nullptr);
  EXPECT_EQ(connected(), addresses_of({1})) << "the next one at once";
  pass(210ms);
  EXPECT_EQ(connected(), addresses_of({1, 2}));
  pass(200ms);
  EXPECT_EQ(connected(), addresses_of({0, 1, 2}));
  EXPECT_TRUE(choose_server(2));
}

TEST_F(MapHuntTest, ADoubtedSourceHasTimeToAnswerAnew) {
  hunt_among(2, {1s, 1s, 1});
  ASSERT_TRUE(choose_server(0));
  hunt->doubt_source();
  EXPECT_EQ(hunt->source(), nullptr);
  EXPECT_EQ(hunt->last_asked()->address(), osd(0).address());
  pass(900ms);
  EXPECT_EQ(connected(), addresses_of({0}));
  EXPECT_TRUE(choose_server(0));
  pass(10s);
  EXPECT_EQ(connected(), addresses_of({0}));
  EXPECT_EQ(osd(0).sessions, 1u);
}

TEST_F(MapHuntTest, ADoubtedSourceThatIsSilentLosesItsTurn) {
  hunt_among(2, {1s, 1s, 1});
  ASSERT_TRUE(choose_server(0));
  hunt->doubt_source();
  pass(1100ms);
  EXPECT_EQ(connected(), addresses_of({1}));
}

TEST_F(MapHuntTest, AMapThatComesMeanwhileCountsAtTheNextStep) {
  start_servers(2);
  where = {osd(0).address()};
  make_hunt({200ms, 3s, 4});
  hunt->start();
  pass(100ms);
  where.push_back(osd(1).address());
  pass(110ms);
  EXPECT_EQ(connected(), addresses_of({0, 1}));
}

TEST_F(MapHuntTest, TheFirstOfNewCandidatesComesNextWhoeverHadTheTurn) {
  start_servers(4);
  where = {osd(0).address(), osd(1).address(), osd(2).address()};
  make_hunt({200ms, 3s, 4});
  hunt->start();
  pass(210ms);
  EXPECT_EQ(connected(), addresses_of({0, 1}));
  where.insert(where.begin(), osd(3).address());
  pass(200ms);
  EXPECT_EQ(connected(), addresses_of({0, 1, 3}));
}

TEST_F(MapHuntTest, StoppedBeforeItIsStartedItAsksNobody) {
  start_servers(1);
  where = {osd(0).address()};
  make_hunt({200ms, 3s, 4});
  hunt->stop();
  hunt->start();
  pass(1s);
  EXPECT_EQ(connected(), Addresses{});
}

TEST_F(MapHuntTest, WithoutCandidatesItLooksAgain) {
  start_servers(1);
  make_hunt({200ms, 3s, 4});
  hunt->start();
  pass(1s);
  EXPECT_EQ(connected(), Addresses{});
  where = {osd(0).address()};
  pass(210ms);
  EXPECT_EQ(connected(), addresses_of({0}));
}

TEST_F(MapHuntTest, StopLetsGoOfEverybodyAndAsksNobody) {
  hunt_among(3);
  pass(210ms);
  hunt->stop();
  EXPECT_EQ(connected(), Addresses{});
  pass(10s);
  EXPECT_EQ(connected(), Addresses{});
  hunt->drop_source();
  hunt->doubt_source();
  hunt->stop();
}

TEST_F(MapHuntTest, StopLetsGoOfTheSource) {
  hunt_among(1);
  ASSERT_TRUE(choose_server(0));
  hunt->stop();
  EXPECT_EQ(hunt->source(), nullptr);
  EXPECT_EQ(connected(), Addresses{});
}

}  // namespace
}  // namespace lunar::objecter
