// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

class MapClientTest : public ObjecterFixture {
 protected:
  void SetUp() override { start(3); }
  OsdMap next(Epoch epoch = 6) const {
    OsdMap changed = map;
    changed.epoch = epoch;
    return changed;
  }
  std::vector<std::byte> data = pattern(64);
};

TEST_F(MapClientTest, PushedMapIsTaken) {
  std::optional<std::error_code> waited;
  objecter->wait_for_epoch(6, 10s, [&](std::error_code error) { waited = error; });
  settle();
  EXPECT_FALSE(waited);
  set_map(next());
  settle();
  EXPECT_EQ(objecter->map()->epoch, 6u);
  ASSERT_TRUE(waited);
  EXPECT_FALSE(*waited);
  EXPECT_EQ(counter("map_epoch"), 6u);
}

TEST_F(MapClientTest, OlderForeignAndDamagedMapsAreIgnored) {
  OsdMap older = next(4);
  OsdMap foreign = next(9);
  foreign.fsid = Uuid::random();
  for (const OsdMap& bad : {older, foreign}) {
    osd(0).map = bad;
    osd(0).push_map();
    settle();
    EXPECT_EQ(objecter->map()->epoch, 5u);
    EXPECT_EQ(objecter->map()->fsid, map.fsid);
  }
  std::vector<std::byte> bytes;
  encode(next(7), bytes);
  bytes[20] ^= std::byte{1};
  osd(0).send_raw(MessageType::kMap, bytes);
  settle();
  EXPECT_EQ(objecter->map()->epoch, 5u);
}

TEST_F(MapClientTest, WaitingForAnEpochTimesOut) {
  std::optional<std::error_code> waited;
  objecter->wait_for_epoch(99, 1s, [&](std::error_code error) { waited = error; });
  pass(1100ms);
  EXPECT_EQ(waited, make_error_code(OsdErrc::kTimedOut));
}

TEST_F(MapClientTest, SubscriptionMovesWhenItsServerDies) {
  faults.target = osd(0).address();
  faults.refuse = true;
  osd(0).drop_sessions();
  pass(3s);
  ASSERT_FALSE(osd(1).subscriptions.empty()) << "the next server that is up";
  EXPECT_EQ(osd(1).subscriptions.back(), 5u);
  set_map(next());
  settle();
  EXPECT_EQ(objecter->map()->epoch, 6u);
}

TEST_F(MapClientTest, StaleMapWaitsForTheNewerOneAndSendsAgain) {
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data, 0), ended);
  settle();
  // The server knows epoch 6 already, in which the PG is no longer its own.
  OsdMap changed = next();
  changed.pools[0].members[1].weight = 0;
  const std::string name = object_on(1);
  osd(1).map = changed;
  osd(0).answers_subscriptions = osd(1).answers_subscriptions = false;
  auto header = osd(1).ok(osd(1).ops.front());
  header.error = OsdErrc::kStaleMap;
  header.steps[0].error = OsdErrc::kStaleMap;
  osd(1).reply(osd(1).ops.front(), header);
  osd(1).ops.clear();
  pass(200ms);
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(osd(1).subscriptions.back(), 5u) << "asked whoever has it";
  set_map(changed);
  settle();
  EXPECT_EQ(objecter->map()->epoch, 6u);
  const OsdId now = osd_of_pg(map.pools[0], pg_of_object(map.pools[0], name));
  ASSERT_NE(now, 1);
  ASSERT_EQ(osd(now).ops.size(), 1u);
  EXPECT_EQ(osd(now).ops[0].op.tid, tid);
  EXPECT_EQ(osd(now).ops[0].op.attempt, 2u);
  EXPECT_EQ(osd(now).ops[0].op.epoch, 6u);
  osd(now).reply_next();
  settle();
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(ended.times, 1);
}

TEST_F(MapClientTest, StaleMapAtTheVerySameEpochIsNotAHotLoop) {
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  osd(1).answer = [this](const test::FakeOsd::Received& received) {
    auto header = osd(1).ok(received);
    header.error = header.steps[0].error = OsdErrc::kStaleMap;
    return std::optional(header);
  };
  osd(1).reply_next(OsdErrc::kStaleMap);
  pass(1s);
  EXPECT_GE(osd(1).ops_seen, 8u);
  EXPECT_LE(osd(1).ops_seen, 12u);
  osd(1).answer = {};
  pass(200ms);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  osd(1).reply_next();
  settle();
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(MapClientTest, PoolThatMovesToOtherServersTakesItsOpsAlong) {
  const std::string name = object_on(1);
  Ended idempotent, change;
  submit(write_op(name, data), idempotent);
  submit(write_op(name, data, 0), change);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 2u);
  OsdMap changed = next();
  changed.pools[0].members[1].weight = 0;
  set_map(changed);
  settle();
  const OsdId now = osd_of_pg(map.pools[0], pg_of_object(map.pools[0], name));
  ASSERT_EQ(osd(now).ops.size(), 2u);
  EXPECT_EQ(osd(now).ops[0].data, data);
  osd(now).reply_next();
  osd(now).reply_next();
  settle();
  EXPECT_FALSE(idempotent.reply.error);
  EXPECT_FALSE(change.reply.error);
}

TEST_F(MapClientTest, UnknownPoolIsAskedAboutBeforeItIsDenied) {
  ObjectOp op = write_op("x", data);
  op.object.pool = 2;
  Ended ended;
  osd(0).answers_subscriptions = false;
  submit(std::move(op), ended);
  settle();
  EXPECT_FALSE(ended.is_done);
  osd(0).answers_subscriptions = true;
  pass(3s);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kNoSuchPool));
}

TEST_F(MapClientTest, PoolThatIsNewerThanOurMapIsFound) {
  OsdMap changed = next();
  changed.next_pool_id = 3;
  PoolInfo pool = changed.pools[0];
  pool.id = 2;
  pool.name = "new";
  changed.pools.push_back(pool);
  set_map(changed, false);  // and pushes it to nobody
  ObjectOp op = write_op("x", data);
  op.object.pool = 2;
  Ended ended;
  submit(std::move(op), ended);
  settle();
  EXPECT_EQ(objecter->map()->epoch, 6u);
  const OsdId owner = osd_of_pg(pool, pg_of_object(pool, "x"));
  ASSERT_EQ(osd(owner).ops.size(), 1u);
  osd(owner).reply_next();
  settle();
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(MapClientTest, NewerEpochInAReplyIsFetched) {
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  set_map(next(), false);
  osd(1).reply_next();
  settle();
  EXPECT_TRUE(ended.is_done);
  EXPECT_EQ(objecter->map()->epoch, 6u);
}

TEST_F(MapClientTest, QuestionGoesToAnotherServerIfTheAuthorityIsSilent) {
  OsdMap changed = next();
  changed.authority = 2;
  set_map(changed);
  settle();
  osd(2).says_hello = false;
  ObjectOp op = write_op("x", data);
  op.object.pool = 8;
  Ended ended;
  submit(std::move(op), ended);
  pass(500ms);
  EXPECT_FALSE(ended.is_done);
  pass(1s);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kNoSuchPool));
}

}  // namespace
}  // namespace lunar::objecter
