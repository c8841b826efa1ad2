// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/watching_client.h"

#include <gtest/gtest.h>

#include "tests/osd/recording_connection.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;

class WatchingClientTest : public ::testing::Test {
 protected:
  std::shared_ptr<RecordingConnection> connection(uint16_t port) {
    return std::make_shared<RecordingConnection>(*center, client.id(),
                                                 msgr::Address::loopback(port));
  }
  void ping() { send_encoded(client, objecter::MessageType::kWatchPong, objecter::WatchPing{7}); }

  std::unique_ptr<msgr::EventCenter> center = std::move(*msgr::EventCenter::create({}));
  WatchingClient::TimePoint now{1h};
  WatchingClient client{{"client.a", "host", 3}, 1, now};
};

TEST_F(WatchingClientTest, IsAwayFromTheBeginningUntilAConnectionOpens) {
  EXPECT_EQ(client.disconnected_for(now + 5s), 5s);
  const auto first = connection(1);
  client.attach(*first);
  EXPECT_TRUE(client.is_connected());
  EXPECT_EQ(client.disconnected_for(now + 5s), 0s);
  EXPECT_EQ(client.address(), msgr::Address::loopback(1));
}

TEST_F(WatchingClientTest, IsAwaySinceItsLastLinkWent) {
  const auto first = connection(1), second = connection(2);
  client.attach(*first);
  client.attach(*second);
  first->is_linked = false;
  client.on_link(*first, false, now);
  EXPECT_TRUE(client.is_connected());
  second->is_linked = false;
  client.on_link(*second, false, now + 1s);
  EXPECT_FALSE(client.is_connected());
  EXPECT_TRUE(client.has_connections());
  EXPECT_FALSE(client.is_away_for(3s, now + 4s - 1ns));
  EXPECT_TRUE(client.is_away_for(3s, now + 4s));
}

TEST_F(WatchingClientTest, ALinkThatComesBackEndsTheAbsence) {
  const auto first = connection(1);
  client.attach(*first);
  first->is_linked = false;
  client.on_link(*first, false, now);
  client.on_link(*first, true, now + 1s);
  EXPECT_TRUE(client.is_connected());
  EXPECT_FALSE(client.is_away_for(0s, now + 1h));
}

TEST_F(WatchingClientTest, AConnectionThatEndedCountsNoMore) {
  const auto first = connection(1);
  client.attach(*first);
  client.detach(*first, now);
  EXPECT_FALSE(client.is_connected());
  EXPECT_FALSE(client.has_connections());
}

TEST_F(WatchingClientTest, SendsOnTheNewestConnectionThatHasALink) {
  const auto oldest = connection(1), linked = connection(2), newest = connection(3);
  for (const auto& each : {oldest, linked, newest}) client.attach(*each);
  newest->is_linked = false;
  ping();
  EXPECT_EQ(oldest->sent.size(), 0u);
  EXPECT_EQ(linked->pongs().size(), 1u);
  EXPECT_EQ(newest->sent.size(), 0u);
}

TEST_F(WatchingClientTest, WithoutAnyLinkTheNewestSessionCarriesIt) {
  const auto oldest = connection(1), newest = connection(2);
  for (const auto& each : {oldest, newest}) {
    client.attach(*each);
    each->is_linked = false;
  }
  ping();
  EXPECT_EQ(newest->pongs().size(), 1u);
}

TEST_F(WatchingClientTest, WithoutAConnectionNothingIsSent) { ping(); }

TEST_F(WatchingClientTest, WhoDoesNotReadIsToldNoMoreThanItsShare) {
  const auto unread =
      std::make_shared<msgr::FairShares>(msgr::FairShares::Limits{10'000, 2'000, 0});
  WatchingClient slow({"client.a", "host", 3}, 1, now, unread);
  WatchingClient other({"client.b", "host", 3}, 2, now, unread);
  const auto connection = this->connection(1), others = this->connection(2);
  slow.attach(*connection);
  other.attach(*others);
  connection->is_reading = false;
  const auto tell = [](WatchingClient& to) {
    return to.try_tell(objecter::MessageType::kWatchNotify, std::vector<std::byte>(1'000));
  };
  EXPECT_TRUE(tell(slow));
  EXPECT_TRUE(tell(slow));
  EXPECT_FALSE(slow.is_behind());
  EXPECT_FALSE(tell(slow));
  EXPECT_TRUE(slow.is_behind());
  EXPECT_TRUE(tell(other)) << "it has a share of its own";
  connection->unread.clear();
  slow.catch_up();
  EXPECT_TRUE(tell(slow));
  EXPECT_FALSE(slow.is_behind());
}

TEST_F(WatchingClientTest, WithoutALinkNothingIsQueuedThatMustBeTold) {
  const auto only = connection(1);
  client.attach(*only);
  only->is_linked = false;
  EXPECT_FALSE(client.try_tell(objecter::MessageType::kWatchNotify, {}));
  EXPECT_TRUE(only->sent.empty());
}

TEST_F(WatchingClientTest, WhatItMissedIsNamedOnceUnlessTheWatchEnded) {
  client.note_missed({1, "a"}, 1);
  client.note_missed({1, "b"}, 2);
  client.forget_missed({1, "a"}, 1);
  EXPECT_TRUE(client.is_behind());
  EXPECT_EQ(client.catch_up().size(), 1u);
  EXPECT_FALSE(client.is_behind());
  EXPECT_TRUE(client.catch_up().empty());
}

}  // namespace
}  // namespace lunar::osd
