// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

// A write of an object of osd.1, sent, whose PG a map then gives to another server.
class OpMovingTest : public ObjecterFixture {
 protected:
  void SetUp() override {
    start(3);
    osd(1).confirms_cancels = false;
  }
  void send(uint16_t flags = kOpIdempotent) {
    name = object_on(1);
    tid = submit(write_op(name, data, flags), ended);
    settle();
    ASSERT_EQ(osd(1).ops.size(), 1u);
    sent = osd(1).ops.front();
  }
  // osd.1 has not executed it, and has a newer map.
  void refuse_sent() {
    OsdReplyHeader refusal;
    refusal.tid = tid;
    refusal.attempt = 1;
    refusal.error = OsdErrc::kStaleMap;
    osd(1).reply(sent, refusal);
    settle();
  }
  // osd.1 has no PG from now on; a server that is down has been kept from writing.
  void move(bool is_down = false) {
    OsdMap next = map;
    ++next.epoch;
    next.pools[0].members[1].weight = 0;
    next.osds[1].up = !is_down;
    set_map(std::move(next));
    settle();
    heir = osd_of_pg(map.pools[0], pg_of_object(map.pools[0], name));
  }
  // All PGs are there from now on.
  void move_to(OsdId to) {
    OsdMap next = map;
    ++next.epoch;
    for (auto& member : next.pools[0].members) member.weight = member.osd == to ? 0x10000 : 0;
    set_map(std::move(next));
    settle();
  }
  void expect_moved() {
    ASSERT_EQ(osd(heir).ops.size(), 1u);
    EXPECT_EQ(osd(heir).ops[0].op.tid, tid);
    EXPECT_EQ(osd(heir).ops[0].op.attempt, 2u);
    EXPECT_EQ(osd(heir).ops[0].data, data);
    osd(heir).reply_next();
    settle();
    EXPECT_EQ(ended.times, 1);
    EXPECT_FALSE(ended.reply.error) << ended.reply.error.message();
  }

  std::vector<std::byte> data = pattern(64);
  std::string name;
  Tid tid = 0;
  OsdId heir = -1;
  test::FakeOsd::Received sent;
  Ended ended;
};

// If the old server executed it later it would undo what the new one did in between.
TEST_F(OpMovingTest, AWriteGoesToItsNewServerWhenTheOldOneHasGivenItUp) {
  send();
  move();
  EXPECT_EQ(osd(1).cancels, std::vector<Tid>{tid});
  EXPECT_EQ(osd(1).given_up, std::vector<uint32_t>{1}) << "it may come back";
  EXPECT_TRUE(osd(heir).ops.empty());
  osd(1).send_cancelled(tid);
  settle();
  expect_moved();
}

TEST_F(OpMovingTest, WhatMustNotBeDoneTwiceMovesWithoutAnError) {
  send(0);
  move();
  EXPECT_FALSE(ended.is_done);
  osd(1).send_cancelled(tid);
  settle();
  expect_moved();
}

TEST_F(OpMovingTest, AnAnswerOfTheOldServerIsTheResult) {
  send(0);
  move();
  osd(1).reply(sent, osd(1).ok(sent));
  osd(1).send_cancelled(tid);
  settle();
  EXPECT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_TRUE(osd(heir).ops.empty());
}

TEST_F(OpMovingTest, ARefusalOfTheOldServerIsItsWord) {
  send(0);
  move();
  refuse_sent();
  expect_moved();
}

TEST_F(OpMovingTest, AServerThatIsDownIsNotWaitedFor) {
  send();
  move(true);
  EXPECT_TRUE(osd(1).cancels.empty());
  expect_moved();
}

TEST_F(OpMovingTest, AServerThatDiesBeforeItsWordIsNotWaitedForAnyLonger) {
  send();
  move();
  EXPECT_TRUE(osd(heir).ops.empty());
  move(true);
  expect_moved();
}

TEST_F(OpMovingTest, OfADeadServerItIsNotKnownWhetherItDidWhatMustNotBeDoneTwice) {
  send(0);
  move(true);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kUnknownOutcome));
  EXPECT_TRUE(osd(heir).ops.empty());
}

TEST_F(OpMovingTest, AfterALostSessionTheOldServerIsAskedAgain) {
  send();
  move();
  osd(1).hello.remembers_client = true;
  osd(1).drop_sessions();
  pass(3s);
  EXPECT_EQ(osd(1).cancels.size(), 2u);
  osd(1).send_cancelled(tid);
  settle();
  expect_moved();
}

// The first cancel was answered after the op had come back.
TEST_F(OpMovingTest, CancelledOfAnEarlierSendingIsNoWordOfTheLaterOne) {
  send(0);
  move();
  refuse_sent();
  ASSERT_EQ(osd(heir).ops.size(), 1u);
  osd(heir).confirms_cancels = false;
  const OsdId between = heir;
  move_to(1);
  osd(between).send_cancelled(tid);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u) << "it has dropped the one that was cancelled";
  EXPECT_EQ(osd(1).ops.back().op.attempt, 3u);
  move_to(between);
  EXPECT_EQ(osd(1).given_up, (std::vector<uint32_t>{1, 3}));
  osd(between).ops.clear();
  std::vector<std::byte> old;
  encode(CancelNote{tid, 1}, old);
  osd(1).send_raw(MessageType::kCancelled, old);
  settle();
  EXPECT_TRUE(osd(between).ops.empty()) << "osd.1 may be executing it";
  osd(1).send_cancelled(tid);
  settle();
  ASSERT_EQ(osd(between).ops.size(), 1u);
  osd(between).reply_next();
  settle();
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(OpMovingTest, AnOpWhoseOldServerIsSilentEndsInTime) {
  send();
  move();
  pass(options.op_timeout + 60s);
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
}

TEST_F(OpMovingTest, AReadMovesAtOnce) {
  std::vector<std::byte> into(64);
  name = object_on(1);
  submit(read_op(name, into), ended);
  settle();
  move();
  ASSERT_EQ(osd(heir).ops.size(), 1u);
  osd(heir).reply_next(OsdErrc::kOk, data);
  settle();
  EXPECT_EQ(into, data);
}

// A write that osd.1 has begun, and that ended here without its word; then the PG moves.
class UnconfirmedChangeTest : public OpMovingTest {
 protected:
  void SetUp() override {
    OpMovingTest::SetUp();
    OsdMap next = map;
    ++next.epoch;
    next.pools[0].store = StoreKind::kRados;
    next.pools[0].rados_pool = next.pools[0].rados_namespace = "p";
    set_map(std::move(next));
    settle();
    send();
    pass(options.op_timeout + options.cancel_grace + 1s);
    ASSERT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
    move();
    submit(write_op(name, data, kOpIdempotent), later);
    pass(1s);
  }
  Ended later;
};

TEST_F(UnconfirmedChangeTest, ALaterOneWaitsForTheAnswer) {
  EXPECT_TRUE(osd(heir).ops.empty()) << "the first one could undo it";
  osd(1).reply(sent, osd(1).ok(sent));
  pass(1s);
  EXPECT_EQ(osd(heir).ops.size(), 1u);
}

TEST_F(UnconfirmedChangeTest, ALaterOneWaitsForCancelled) {
  osd(1).send_cancelled(tid);
  pass(1s);
  EXPECT_EQ(osd(heir).ops.size(), 1u);
}

TEST_F(UnconfirmedChangeTest, AWordThatWasLostWithTheSessionIsAskedForAgain) {
  osd(1).confirms_cancels = true;
  osd(1).hello.remembers_client = true;
  osd(1).drop_sessions();
  pass(5s);
  EXPECT_EQ(osd(heir).ops.size(), 1u);
}

TEST_F(UnconfirmedChangeTest, AServerThatHasForgottenUsHasNothingUnderWay) {
  osd(1).hello.remembers_client = false;
  osd(1).drop_sessions();
  pass(5s);
  EXPECT_EQ(osd(heir).ops.size(), 1u);
}

TEST_F(UnconfirmedChangeTest, WhatWaitsGoesInTheOrderInWhichItWasSubmitted) {
  Ended last;
  submit(write_op(name, data, kOpIdempotent), last);
  osd(1).send_cancelled(tid);
  settle();
  submit(write_op(name, data, kOpIdempotent), ended);
  settle();
  ASSERT_EQ(osd(heir).ops.size(), 3u);
  EXPECT_LT(osd(heir).ops[0].op.tid, osd(heir).ops[1].op.tid);
  EXPECT_LT(osd(heir).ops[1].op.tid, osd(heir).ops[2].op.tid);
}

TEST_F(UnconfirmedChangeTest, AServerThatIsDownIsFenced) {
  move(true);
  pass(1s);
  EXPECT_EQ(osd(heir).ops.size(), 1u);
}

TEST_F(UnconfirmedChangeTest, AReadGoesOn) {
  std::vector<std::byte> into(64);
  submit(read_op(name, into), ended);
  settle();
  EXPECT_EQ(osd(heir).ops.size(), 1u);
}

TEST_F(UnconfirmedChangeTest, WhatWaitsEndsInTime) {
  pass(options.op_timeout + 1s);
  EXPECT_EQ(later.reply.error, make_error_code(OsdErrc::kTimedOut));
  EXPECT_TRUE(osd(heir).ops.empty());
}

TEST_F(UnconfirmedChangeTest, AtItsOwnServerALaterOneQueuesBehindIt) {
  move_to(1);
  pass(1s);
  ASSERT_FALSE(osd(1).ops.empty());
  EXPECT_NE(osd(1).ops.back().op.tid, tid);
}

}  // namespace
}  // namespace lunar::objecter
