// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/watch_table.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "objecter/protocol/placement.h"
#include "tests/osd/recording_connection.h"
#include "tests/support/manual_clock.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;
using objecter::ClientIdentity;
using objecter::ObjectId;
using objecter::OsdErrc;

class WatchTableTest : public ::testing::Test {
 protected:
  WatchTableTest() {
    msgr::EventCenter::Options timed;
    timed.time = &clock;
    center = std::move(*msgr::EventCenter::create(timed));
    make({});
  }
  ~WatchTableTest() override {
    table->stop();
    center->run_until_idle();
  }
  void make(WatchTable::Options options) {
    table.reset();
    perf = std::make_unique<PerfRegistry>();
    table = std::make_unique<WatchTable>(*center, options, *perf, 1);
  }
  std::shared_ptr<RecordingConnection> connect(const ClientIdentity& client) {
    auto connection = std::make_shared<RecordingConnection>(*center, client);
    table->on_open(*connection);
    return connection;
  }
  void cut(RecordingConnection& connection) {
    connection.is_linked = false;
    table->on_link(connection, false);
  }
  void pass(std::chrono::nanoseconds time) {
    clock.advance(time);
    table->tick();
    center->run_until_idle();
  }
  static objecter::OsdMapRef map_with(std::vector<objecter::PoolInfo::Member> members) {
    auto map = std::make_shared<objecter::OsdMap>();
    objecter::PoolInfo pool;
    pool.id = 1;
    pool.pg_num = 8;
    pool.members = std::move(members);
    map->pools.push_back(pool);
    return map;
  }
  // The errors with which the watches of this connection ended, as its client was told.
  static std::vector<OsdErrc> losses(const RecordingConnection& connection) {
    std::vector<OsdErrc> errors;
    for (const objecter::WatchLost& loss : connection.losses()) errors.push_back(loss.error);
    return errors;
  }

  const ObjectId object{1, "header"};
  const ClientIdentity a{"client.a", "host", 1};
  const ClientIdentity b{"client.b", "host", 1};
  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  std::unique_ptr<PerfRegistry> perf;
  std::unique_ptr<WatchTable> table;
};

TEST_F(WatchTableTest, AWatchGivesTheTimeoutAndIsListed) {
  const auto connection = connect(a);
  EXPECT_EQ(table->watch(a, object, 7, false), 30s);
  const objecter::WatcherList list = table->list(object);
  ASSERT_EQ(list.watchers.size(), 1u);
  EXPECT_EQ(list.watchers[0].id, (objecter::WatcherId{a, 7}));
  EXPECT_TRUE(list.watchers[0].is_connected);
  EXPECT_FALSE(list.settling.is_settled());
}

TEST_F(WatchTableTest, AListIsInOrderOfItsClientsWhoeverCameFirst) {
  const auto second = connect(b), first = connect(a);
  ASSERT_TRUE(table->watch(b, object, 1, false));
  ASSERT_TRUE(table->watch(a, object, 2, false));
  const objecter::WatcherList list = table->list(object);
  ASSERT_EQ(list.watchers.size(), 2u);
  EXPECT_EQ(list.watchers[0].id.client, a);
}

TEST_F(WatchTableTest, TheSameWatchAgainIsOneWatchAndItsNotifiesAreToldAgain) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  table->notify(this, b, object, 5s, as_const_bytes("hear"), [](auto, auto) {});
  EXPECT_TRUE(table->watch(a, object, 7, true));
  EXPECT_EQ(table->watches(), 1u);
  EXPECT_EQ(connection->notifies().size(), 2u);
}

TEST_F(WatchTableTest, UnwatchEndsItWithoutAMessage) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  table->unwatch(a, object, 8);
  EXPECT_EQ(table->watches(), 1u);
  table->unwatch(a, object, 7);
  EXPECT_EQ(table->watches(), 0u);
  EXPECT_TRUE(connection->sent.empty());
}

TEST_F(WatchTableTest, AWatchLivesForTheTimeoutBeyondTheLastLink) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  pass(1h);
  EXPECT_EQ(table->watches(), 1u);
  cut(*connection);
  pass(30s - 1ns);
  EXPECT_EQ(table->watches(), 1u);
  EXPECT_FALSE(table->list(object).watchers.at(0).is_connected);
  pass(1ns);
  EXPECT_EQ(table->watches(), 0u);
  EXPECT_EQ(losses(*connection), std::vector{OsdErrc::kWatchLost});
}

TEST_F(WatchTableTest, AClientWithoutAConnectionKeepsItsWatchesUntilThen) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  table->on_reset(*connection);
  pass(29s);
  const auto back = connect(a);
  pass(1h);
  EXPECT_EQ(table->watches(), 1u);
}

TEST_F(WatchTableTest, WhoComesBackToASettledServerTooLateHasLostTheWatch) {
  const auto connection = connect(a);
  EXPECT_TRUE(table->watch(a, object, 6, true)) << "it may have been here before a restart";
  table->on_serving();
  pass(30s);
  const auto late = table->watch(a, object, 7, true);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error(), OsdErrc::kWatchLost);
  EXPECT_TRUE(table->watch(a, object, 7, false));
}

TEST_F(WatchTableTest, HoweverManyStartsAnEntityHasItLeavesRoomForOthersOnAllObjects) {
  make({.max_watches = 4, .notifies = {}});
  const ClientIdentity again{"client.a", "host2", 7};
  const auto first = connect(a), second = connect(again), other = connect(b);
  ASSERT_TRUE(table->watch(a, {1, "one"}, 1, false));
  ASSERT_TRUE(table->watch(again, {1, "two"}, 1, false));
  const auto third = table->watch(again, {1, "three"}, 1, false);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error(), OsdErrc::kBusy);
  EXPECT_TRUE(table->watch(b, {1, "three"}, 1, false));
  table->unwatch(a, {1, "one"}, 1);
  table->on_deleted({1, "three"});
  EXPECT_TRUE(table->watch(again, {1, "three"}, 1, false));
}

TEST_F(WatchTableTest, AnEntityLeavesRoomForAsManyWatchesOfOthers) {
  make({.max_watches_of_object = 4, .notifies = {}});
  const auto first = connect(a), second = connect(b);
  ASSERT_TRUE(table->watch(a, object, 1, false));
  ASSERT_TRUE(table->watch(a, object, 2, false));
  const auto third = table->watch(a, object, 3, false);
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error(), OsdErrc::kBusy);
  EXPECT_TRUE(table->watch(b, object, 1, false));
}

TEST_F(WatchTableTest, AStartOfAClientHasOnlySoManyWatches) {
  make({.max_watches_of_client = 1, .notifies = {}});
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 1, false));
  EXPECT_FALSE(table->watch(a, {1, "other"}, 1, false));
}

TEST_F(WatchTableTest, ANotifyReachesTheWatchersAndTheirAcksIt) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  std::optional<Result<objecter::NotifyResult>> ended;
  table->notify(this, b, object, 5s, as_const_bytes("hear"),
                [&](auto result, auto) { ended = std::move(result); });
  const auto told = connection->notifies();
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(told[0].notifier, b);
  EXPECT_EQ(as_text(told[0].payload), "hear");
  EXPECT_FALSE(table->take_ack(b, object, 7, told[0].notify_id, {})) << "it watches nothing";
  EXPECT_TRUE(table->take_ack(a, object, 7, told[0].notify_id, {}));
  center->run_until_idle();
  ASSERT_TRUE(ended && *ended);
  EXPECT_EQ((*ended)->acks.size(), 1u);
}

TEST_F(WatchTableTest, ANotifyOutlivesTheConnectionOfItsNotifier) {
  const auto watcher = connect(a), notifier = connect(b);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  bool is_ended = false;
  table->notify(this, b, object, 5s, {}, [&](auto, auto) { is_ended = true; });
  table->on_reset(*notifier);
  pass(5s);
  EXPECT_TRUE(is_ended);
}

TEST_F(WatchTableTest, AWatcherWithoutALinkIsToldWhenItHasOne) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  cut(*connection);
  table->notify(this, b, object, 5s, as_const_bytes("hear"), [](auto, auto) {});
  pass(1s);
  EXPECT_TRUE(connection->sent.empty()) << "a session without a link is no place to keep things";
  connection->is_linked = true;
  table->on_link(*connection, true);
  const auto told = connection->notifies();
  ASSERT_EQ(told.size(), 1u) << "at once";
  EXPECT_EQ(told[0].timeout, 4s);
  pass(1s);
  EXPECT_EQ(connection->notifies().size(), 1u);
  EXPECT_EQ(table->watches(), 1u);
}

TEST_F(WatchTableTest, AWatchThatWasNotToldInTimeIsLostWhenItsClientHearsOfIt) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  cut(*connection);
  std::size_t missed = 0;
  table->notify(this, b, object, 5s, {},
                [&](auto result, auto) { missed = result->missed.size(); });
  pass(5s);
  EXPECT_EQ(missed, 1u);
  pass(1s);
  EXPECT_EQ(table->watches(), 1u) << "its client has been promised that";
  connection->is_linked = true;
  table->on_link(*connection, true);
  pass(1s);
  EXPECT_EQ(table->watches(), 0u);
  EXPECT_EQ(losses(*connection), std::vector{OsdErrc::kWatchLost});
  EXPECT_TRUE(connection->notifies().empty());
}

TEST_F(WatchTableTest, AWatchThatIsMadeAgainHasMissedNothing) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  cut(*connection);
  table->notify(this, b, object, 5s, {}, [](auto, auto) {});
  pass(5s);
  table->unwatch(a, object, 7);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  connection->is_linked = true;
  table->on_link(*connection, true);
  pass(1s);
  EXPECT_EQ(table->watches(), 1u);
}

TEST_F(WatchTableTest, AWatcherThatDoesNotReadIsNoBurdenAndKeepsNobodyFromHearing) {
  WatchTable::Options options;
  options.unread = {100'000, 10'000, 0};
  make(options);
  const auto stuck = connect(a), reading = connect(b);
  stuck->is_reading = false;
  ASSERT_TRUE(table->watch(a, object, 7, false));
  ASSERT_TRUE(table->watch(b, object, 7, false));
  const std::string payload(4096, 'x');
  const ClientIdentity notifier{"client.n", "host", 1};
  for (const char& each : payload.substr(0, 30))
    table->notify(&each, notifier, object, 5s, as_const_bytes(payload), [](auto, auto) {});
  EXPECT_LE(stuck->unread.size(), 3u);
  EXPECT_EQ(reading->notifies().size(), 30u);
  // As soon as it reads it is told the rest, bit by bit.
  stuck->is_reading = true;
  stuck->unread.clear();
  pass(1s);
  EXPECT_GE(stuck->notifies().size(), 27u);
}

TEST_F(WatchTableTest, AHealthyGatewayIsToldOfAllItsImagesAtOnce) {
  constexpr int kHosts = 10, kLuns = 64;
  std::vector<std::shared_ptr<RecordingConnection>> hosts;
  for (int host = 0; host < kHosts; ++host) {
    const ClientIdentity id{"client.gw", "host" + std::to_string(host), 1};
    hosts.push_back(connect(id));
    for (int lun = 0; lun < kLuns; ++lun)
      ASSERT_TRUE(table->watch(id, {1, "header." + std::to_string(lun)}, 7, false));
    hosts.back()->is_reading = false;  // for a moment
  }
  int refused = 0;
  std::vector<char> tokens(kLuns);
  for (int lun = 0; lun < kLuns; ++lun)
    table->notify(&tokens[static_cast<std::size_t>(lun)], {"client.gw", "host0", 1},
                  {1, "header." + std::to_string(lun)}, 5s, {},
                  [&](auto result, auto) { refused += result ? 0 : 1; });
  for (const auto& host : hosts) EXPECT_EQ(host->unread.size(), std::size_t{kLuns});
  pass(5s);
  EXPECT_EQ(refused, 0);
}

TEST_F(WatchTableTest, ADeletedObjectTakesItsWatchesWithIt) {
  const auto first = connect(a), second = connect(b);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  ASSERT_TRUE(table->watch(b, object, 7, false));
  ASSERT_TRUE(table->watch(b, {1, "other"}, 7, false));
  table->on_deleted(object);
  EXPECT_EQ(losses(*first), std::vector{OsdErrc::kNoSuchObject});
  EXPECT_EQ(losses(*second), std::vector{OsdErrc::kNoSuchObject});
  EXPECT_EQ(table->watches(), 1u);
}

TEST_F(WatchTableTest, AFenceEndsTheWatchesOfOlderStartsOnly) {
  const ClientIdentity newer{a.entity, a.instance, 2};
  const auto old = connect(a), young = connect(newer), other = connect(b);
  for (const ClientIdentity& each : {a, newer, b})
    ASSERT_TRUE(table->watch(each, object, 7, false));
  table->on_fenced(a.entity, a.instance, 1);
  EXPECT_EQ(losses(*old), std::vector{OsdErrc::kFenced});
  EXPECT_TRUE(losses(*young).empty());
  EXPECT_TRUE(losses(*other).empty());
}

TEST_F(WatchTableTest, PermissionsThatWentEndAWatch) {
  const auto first = connect(a), second = connect(b);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  ASSERT_TRUE(table->watch(b, object, 7, false));
  table->drop_if([](const std::string& entity, const ObjectId&) { return entity == "client.a"; });
  EXPECT_EQ(losses(*first), std::vector{OsdErrc::kNotPermitted});
  EXPECT_EQ(table->watches(), 1u);
}

TEST_F(WatchTableTest, AMapThatGivesTheObjectToAnotherServerEndsItsWatches) {
  const auto connection = connect(a);
  table->on_map(map_with({{0, 1}}), 0);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  table->on_map(map_with({{0, 1}}), 0);
  EXPECT_EQ(table->watches(), 1u);
  table->on_map(map_with({{1, 1}}), 0);
  EXPECT_EQ(losses(*connection), std::vector{OsdErrc::kStaleMap});
}

TEST_F(WatchTableTest, APoolThatIsGoneEndsItsWatches) {
  const auto connection = connect(a);
  table->on_map(map_with({{0, 1}}), 0);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  table->on_map(std::make_shared<objecter::OsdMap>(), 0);
  EXPECT_EQ(losses(*connection), std::vector{OsdErrc::kNoSuchPool});
}

TEST_F(WatchTableTest, APingIsAnsweredWithItsStamp) {
  const auto connection = connect(a);
  std::vector<std::byte> front;
  encode(objecter::WatchPing{42}, front);
  table->on_ping(*connection, front);
  ASSERT_EQ(connection->pongs().size(), 1u);
  EXPECT_EQ(connection->pongs()[0].stamp, 42u);
}

TEST_F(WatchTableTest, ADumpNamesEachWatch) {
  const auto connection = connect(a);
  ASSERT_TRUE(table->watch(a, object, 7, false));
  table->on_serving();
  cut(*connection);
  pass(2s);
  const auto dump = nlohmann::json::parse(table->to_json());
  EXPECT_EQ(dump["timeout_ms"], 30'000);
  EXPECT_EQ(dump["serving_ms"], 2000);
  ASSERT_EQ(dump["watchers"].size(), 1u);
  EXPECT_EQ(dump["watchers"][0]["object"], "header");
  EXPECT_EQ(dump["watchers"][0]["entity"], "client.a");
  EXPECT_EQ(dump["watchers"][0]["connected"], false);
  EXPECT_EQ(dump["watchers"][0]["disconnected_ms"], 2000);
}

}  // namespace
}  // namespace lunar::osd
