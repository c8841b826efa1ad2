// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/map_waiters.h"

#include "tests/osd/ops/executor_fixture.h"
#include "tests/osd/recording_connection.h"
#include "tests/support/inert_connection.h"

namespace lunar::osd {
namespace {

class MapWaitersTest : public StoreFixture {
 protected:
  void add(msgr::Connection& connection, Tid tid, Epoch epoch,
           std::chrono::steady_clock::time_point arrived = {}) {
    const ClientOpRef op = Vector().read(0, 1).tid(tid).op();
    op->header.epoch = epoch;
    op->arrived = arrived;
    waiters.add(connection, op);
  }
  std::vector<Tid> tids_until(Epoch epoch) {
    std::vector<Tid> tids;
    for (const MapWaiters::Waiter& waiter : waiters.take_until(epoch))
      tids.push_back(waiter.op->header.tid);
    return tids;
  }

  std::shared_ptr<msgr::Connection> a_ = std::make_shared<test::InertConnection>(*center);
  std::shared_ptr<msgr::Connection> b_ = std::make_shared<test::InertConnection>(*center);
  msgr::Connection& a = *a_;
  msgr::Connection& b = *b_;
  MapWaiters waiters;
};

TEST_F(MapWaitersTest, AnEpochTakesOutWhatWaitedForItInOrder) {
  add(a, 1, 7);
  add(a, 2, 9);
  add(b, 3, 6);
  EXPECT_EQ(tids_until(5), std::vector<Tid>{});
  EXPECT_EQ(tids_until(7), (std::vector<Tid>{1, 3}));
  EXPECT_EQ(waiters.size(), 1u);
  EXPECT_EQ(tids_until(9), (std::vector<Tid>{2}));
}

TEST_F(MapWaitersTest, WhatHasWaitedTooLongIsTakenOut) {
  const std::chrono::steady_clock::time_point start{};
  add(a, 1, 7, start);
  add(a, 2, 7, start + std::chrono::seconds(2));
  EXPECT_TRUE(waiters.take_arrived_until(start - std::chrono::seconds(1)).empty());
  const auto late = waiters.take_arrived_until(start + std::chrono::seconds(1));
  ASSERT_EQ(late.size(), 1u);
  EXPECT_EQ(late.front().op->header.tid, 1u);
  EXPECT_EQ(tids_until(7), std::vector<Tid>{2});
}

TEST_F(MapWaitersTest, OpsGoWithTheirConnection) {
  add(a, 1, 7);
  add(b, 1, 7);
  waiters.erase(a);
  const auto left = waiters.take_until(7);
  ASSERT_EQ(left.size(), 1u);
  EXPECT_EQ(left.front().connection.get(), &b);
}

TEST_F(MapWaitersTest, AnEntityLeavesRoomForOthersHoweverManyConnectionsItHas) {
  const auto connect = [&](const std::string& entity) {
    return std::make_shared<RecordingConnection>(*center,
                                                 objecter::ClientIdentity{entity, "host", 1});
  };
  std::vector<std::shared_ptr<RecordingConnection>> greedy;
  for (int i = 0; i < 8; ++i) greedy.push_back(connect("client.a"));
  const auto other = connect("client.b");
  Tid tid = 0;
  for (const auto& each : greedy)
    while (waiters.has_room(*each, 20, 3)) add(*each, ++tid, 7);
  EXPECT_EQ(waiters.size(), 10u);
  EXPECT_TRUE(waiters.has_room(*other, 20, 3));
  waiters.erase(*greedy[0]);
  EXPECT_TRUE(waiters.has_room(*greedy[7], 20, 3));
  EXPECT_EQ(tids_until(7).size(), 7u);
  EXPECT_TRUE(waiters.has_room(*greedy[0], 20, 3));
}

TEST_F(MapWaitersTest, OneOpIsTakenByItsConnectionAndTid) {
  add(a, 1, 7);
  EXPECT_EQ(waiters.take(b, 1), nullptr);
  EXPECT_EQ(waiters.take(a, 2), nullptr);
  const ClientOpRef op = waiters.take(a, 1);
  ASSERT_NE(op, nullptr);
  EXPECT_EQ(op->header.tid, 1u);
  EXPECT_EQ(waiters.size(), 0u);
}

}  // namespace
}  // namespace lunar::osd
