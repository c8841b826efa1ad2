// SPDX-License-Identifier: LGPL-2.1-or-later
// Timeout, cancel and shutdown. After done a test overwrites the op's buffers, so that any later
// use of them shows.
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

class OpEndingTest : public ObjecterFixture {
 protected:
  OpEndingTest() {
    options.op_timeout = 5s;
    options.cancel_grace = 1s;
  }
  void SetUp() override { start(2); }
  void poison(std::vector<std::byte>& bytes) { std::fill(bytes.begin(), bytes.end(), kPoison); }
  void expect_poisoned(const std::vector<std::byte>& bytes) {
    EXPECT_EQ(bytes, std::vector<std::byte>(bytes.size(), kPoison)) << "somebody wrote after done";
  }
  std::vector<std::byte> data = pattern(20'000);
  std::vector<std::byte> into = std::vector<std::byte>(20'000);
};

TEST_F(OpEndingTest, ReadWithoutAnAnswerTimesOut) {
  Ended ended;
  const Tid tid = submit(read_op("x", into), ended);
  pass(4900ms);
  EXPECT_FALSE(ended.is_done);
  pass(150ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  poison(into);
  // The reply comes late.
  test::FakeOsd& server = osd(osd(0).ops_seen > 0 ? 0 : 1);
  EXPECT_EQ(server.cancels, (std::vector<Tid>{tid}));
  pass(1s);
  expect_poisoned(into);
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(counter("op_timeout"), 1u);
  EXPECT_EQ(counter("op_active"), 0u);
}

TEST_F(OpEndingTest, LateDataOfATimedOutReadGoesNowhere) {
  osd(1).confirms_cancels = false;
  Ended ended;
  submit(read_op(object_on(1), into), ended);
  settle();
  const auto received = osd(1).ops.front();
  pass(5100ms);
  ASSERT_TRUE(ended.is_done);
  poison(into);
  auto header = osd(1).ok(received);
  header.steps[0].data_length = static_cast<uint32_t>(into.size());
  osd(1).reply(received, header, pattern(into.size()));
  pass(1s);
  expect_poisoned(into);
  EXPECT_EQ(counter("reply_ignored"), 1u);
}

TEST_F(OpEndingTest, HalfArrivedReadIsAbandonedBeforeDone) {
  Ended ended;
  submit(read_op(object_on(1), into), ended);
  settle();
  faults.target = osd(1).address();
  faults.receive_bytes = 5000;
  osd(1).reply_next(OsdErrc::kOk, pattern(into.size()));
  settle();
  EXPECT_EQ(into[1000], pattern(2000)[1000]) << "part of it is there";
  EXPECT_EQ(into.back(), std::byte{0}) << "and part of it is not";
  EXPECT_FALSE(ended.is_done);
  pass(5100ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  poison(into);
  faults.receive_bytes = SIZE_MAX;
  pass(30s);  // the link times out, and a new one brings the reply again
  expect_poisoned(into);
  EXPECT_EQ(ended.times, 1);
}

TEST_F(OpEndingTest, TimedOutWriteWaitsForTheServersWord) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data), ended);
  pass(5500ms);
  EXPECT_FALSE(ended.is_done) << "within the grace nobody knows whether it executes";
  EXPECT_EQ(osd(1).cancels, (std::vector<Tid>{tid}));
  osd(1).send_cancelled(tid);
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
}

TEST_F(OpEndingTest, GraceIsBounded) {
  osd(1).confirms_cancels = false;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(6100ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
}

// What must not be done twice: COMPARE AND WRITE, ORWRITE, changes of metadata.
class OnceOnlyTest : public OpEndingTest {
 protected:
  Tid submit_once(Ended& ended) {
    const Tid tid = submit(write_op(object_on(1), data, 0), ended);
    settle();
    return tid;
  }
  static void expect_error(const Ended& ended, OsdErrc error) {
    EXPECT_EQ(ended.times, 1);
    EXPECT_EQ(ended.reply.error, make_error_code(error)) << ended.reply.error.message();
  }
};

TEST_F(OnceOnlyTest, ATimeoutWithoutTheServersWordIsAnUnknownOutcome) {
  osd(1).confirms_cancels = false;
  Ended ended;
  submit_once(ended);
  pass(6100ms);
  expect_error(ended, OsdErrc::kUnknownOutcome);
  EXPECT_EQ(counter("op_timeout"), 1u);
  EXPECT_EQ(counter("op_unknown_outcome"), 1u);
}

TEST_F(OnceOnlyTest, ATimeoutThatTheServerHasNotExecutedMayBeRepeated) {
  Ended ended;
  submit_once(ended);
  pass(5100ms);
  expect_error(ended, OsdErrc::kTimedOut);
  EXPECT_EQ(counter("op_unknown_outcome"), 0u);
}

TEST_F(OnceOnlyTest, AnAbortWithoutTheServersWordIsAnUnknownOutcome) {
  osd(1).confirms_cancels = false;
  Ended ended;
  objecter->cancel(submit_once(ended));
  pass(1100ms);
  expect_error(ended, OsdErrc::kUnknownOutcome);
}

TEST_F(OnceOnlyTest, AnAbortThatTheServerConfirmsIsOne) {
  Ended ended;
  objecter->cancel(submit_once(ended));
  settle();
  expect_error(ended, OsdErrc::kCancelled);
}

TEST_F(OnceOnlyTest, ARestartOfTheServerDuringTheGraceIsAnUnknownOutcome) {
  options.cancel_grace = 60s;
  shut_down();
  make_objecter();
  settle();
  osd(1).confirms_cancels = false;
  Ended ended;
  submit_once(ended);
  pass(5100ms);
  EXPECT_FALSE(ended.is_done);
  restart(1);
  expect_error(ended, OsdErrc::kUnknownOutcome);
}

TEST_F(OnceOnlyTest, AServerThatHasForgottenTheClientProvesNothing) {
  options.cancel_grace = 60s;
  shut_down();
  make_objecter();
  settle();
  osd(1).confirms_cancels = false;
  Ended ended;
  submit_once(ended);
  pass(5100ms);
  osd(1).confirms_cancels = true;
  osd(1).hello.remembers_client = false;
  restart(1, true);
  expect_error(ended, OsdErrc::kUnknownOutcome);
}

TEST_F(OnceOnlyTest, TheAnswerToAnEarlierSendingIsTheOutcome) {
  options.cancel_grace = 60s;
  shut_down();
  make_objecter();
  settle();
  osd(1).confirms_cancels = false;
  Ended ended;
  submit_once(ended);
  const auto first = osd(1).ops.front();
  restart(1, true);  // the second sending arrives, and is not answered either
  pass(5100ms);
  ASSERT_FALSE(ended.is_done);
  auto again = osd(1).ops.front();
  ASSERT_EQ(again.op.attempt, 2u);
  again.op.attempt = first.op.attempt;
  osd(1).reply(again, osd(1).ok(again));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(OnceOnlyTest, WhatNoLinkHasTakenMayBeRepeated) {
  Ended warm;
  submit_once(warm);
  osd(1).reply_next();
  settle();
  ASSERT_TRUE(warm.is_done);
  faults.target = osd(1).address();
  faults.refuse = true;
  faults.fail_sends = 1;
  Ended breaks, waits;
  submit_once(breaks);  // its frame breaks the link
  submit_once(waits);
  pass(6100ms);
  expect_error(breaks, OsdErrc::kUnknownOutcome);
  expect_error(waits, OsdErrc::kTimedOut);
}

TEST_F(OnceOnlyTest, AShutdownIsAnUnknownOutcome) {
  Ended ended;
  submit_once(ended);
  shut_down();
  expect_error(ended, OsdErrc::kUnknownOutcome);
}

TEST_F(OnceOnlyTest, AStoreThatFailedInTheChangeIsAnUnknownOutcome) {
  for (const bool fails_in_compare : {true, false}) {
    ObjectOp op = write_op(object_on(1), data, 0);
    SubOp compare = make_step(OpCode::kAssertVersion);
    compare.version = {1, 1};
    op.steps.insert(op.steps.begin(), compare);
    Ended ended;
    submit(std::move(op), ended);
    settle();
    const auto received = osd(1).ops.front();
    osd(1).ops.pop_front();
    OsdReplyHeader reply = osd(1).ok(received);
    reply.error = reply.steps[fails_in_compare ? 0 : 1].error = OsdErrc::kIoError;
    osd(1).reply(received, reply);
    settle();
    expect_error(ended, fails_in_compare ? OsdErrc::kIoError : OsdErrc::kUnknownOutcome);
  }
}

TEST_F(OpEndingTest, AnswerWithinTheGraceIsBetterThanATimeout) {
  osd(1).confirms_cancels = false;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  const auto received = osd(1).ops.front();
  pass(5200ms);
  osd(1).reply(received, osd(1).ok(received));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(OpEndingTest, RestartedServerConfirmsByHavingRestarted) {
  options.cancel_grace = 60s;
  shut_down();
  make_objecter();
  settle();
  osd(1).confirms_cancels = false;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(5100ms);
  EXPECT_FALSE(ended.is_done);
  restart(1);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  EXPECT_TRUE(osd(1).ops.empty()) << "it is not sent again";
}

TEST_F(OpEndingTest, CancelIsRepeatedInANewSessionOfTheSameProcess) {
  options.cancel_grace = 60s;
  shut_down();
  make_objecter();
  settle();
  osd(1).confirms_cancels = false;
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data), ended);
  pass(5100ms);
  osd(1).confirms_cancels = true;
  restart(1, true);
  EXPECT_EQ(osd(1).cancels, (std::vector<Tid>{tid, tid}));
  EXPECT_EQ(ended.times, 1);
}

TEST_F(OpEndingTest, WriteThatIsStuckInTheLinkIsTakenBackBeforeDone) {
  // Nothing the client sends arrives any more, and the messages pile up in its session.
  faults.target = osd(1).address();
  Ended warm;
  submit(write_op(object_on(1), data), warm);
  settle();
  osd(1).reply_next();
  settle();
  ASSERT_TRUE(warm.is_done);
  faults.stall = true;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(4s);
  EXPECT_TRUE(osd(1).ops.empty());
  pass(2500ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  poison(data);
  faults.stall = false;
  pass(30s);
  for (const auto& received : osd(1).ops) {
    EXPECT_NE(received.data.front(), kPoison) << "scribbled data was sent";
  }
}

TEST_F(OpEndingTest, OpForADownServerTimesOutUnsent) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].up = false;
  set_map(next);
  settle();
  Ended ended;
  submit(write_op(object_on(1), data, 0), ended);
  pass(5050ms);
  ASSERT_EQ(ended.times, 1) << "no grace for what was never sent";
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  next.epoch = 7;
  next.osds[1].up = true;
  set_map(next);
  pass(1s);
  EXPECT_EQ(osd(1).ops_seen, 0u);
}

TEST_F(OpEndingTest, OpsOwnTimeoutWins) {
  auto op = read_op(object_on(1), into);
  op.timeout = 1s;
  Ended soon, late;
  submit(read_op(object_on(1), into), late);
  submit(std::move(op), soon);
  pass(1100ms);
  EXPECT_TRUE(soon.is_done);
  EXPECT_FALSE(late.is_done);
  pass(4s);
  EXPECT_TRUE(late.is_done);
}

TEST_F(OpEndingTest, TimeoutRunsOverAllResends) {
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  restart(1, true);  // takes three seconds
  EXPECT_EQ(osd(1).ops.front().op.attempt, 2u);
  pass(2100ms);
  ASSERT_TRUE(ended.is_done);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
}

TEST_F(OpEndingTest, CancelOfASentWriteEndsWithTheServersWord) {
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data), ended);
  settle();
  objecter->cancel(tid);
  EXPECT_FALSE(ended.is_done) << "never inside cancel()";
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kCancelled));
  EXPECT_EQ(osd(1).cancels, (std::vector<Tid>{tid}));
  poison(data);
  restart(1);
  EXPECT_TRUE(osd(1).ops.empty()) << "it is not sent again";
}

TEST_F(OpEndingTest, CancelOfWhatWaitsTouchesNoServer) {
  options.max_in_flight_ops = 1;
  shut_down();
  make_objecter();
  settle();
  Ended sent, throttled, again;
  submit(write_op(object_on(1), data), sent);
  const Tid tid = submit(write_op(object_on(1), data), throttled);
  submit(write_op(object_on(1), data), again);
  settle();
  objecter->cancel(tid);
  settle();
  EXPECT_EQ(throttled.reply.error, make_error_code(OsdErrc::kCancelled));
  EXPECT_TRUE(osd(1).cancels.empty());
  osd(1).reply_next();
  settle();
  EXPECT_EQ(osd(1).ops.size(), 1u) << "the next one had its turn";
  EXPECT_EQ(osd(1).ops.front().op.tid, tid + 1);
}

TEST_F(OpEndingTest, CancelOfWhatIsOverDoesNothing) {
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data), ended);
  settle();
  osd(1).reply_next();
  settle();
  objecter->cancel(tid);
  objecter->cancel(12345);
  settle();
  EXPECT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_TRUE(osd(1).cancels.empty());
}

TEST_F(OpEndingTest, CancelTwiceEndsOnce) {
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data), ended);
  settle();
  objecter->cancel(tid);
  objecter->cancel(tid);
  settle();
  EXPECT_EQ(ended.times, 1);
}

TEST_F(OpEndingTest, ConfirmationFromAnotherServerIsIgnored) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const Tid tid = submit(write_op(object_on(1), data), ended);
  settle();
  objecter->cancel(tid);
  osd(0).send_cancelled(tid);
  settle();
  EXPECT_FALSE(ended.is_done);
  osd(1).send_cancelled(tid);
  settle();
  EXPECT_TRUE(ended.is_done);
}

TEST_F(OpEndingTest, ShutdownEndsEveryOp) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[0].up = false;
  set_map(next);
  settle();
  std::vector<Ended> ended(5);
  submit(write_op(object_on(1), data), ended[0]);
  submit(read_op(object_on(1), into), ended[1]);
  submit(write_op(object_on(0), data), ended[2]);  // its server is down
  submit(write_op(object_on(1), data), ended[3]);
  settle();
  ObjectOp nowhere = write_op("x", data);
  nowhere.object.pool = 9;
  submit(std::move(nowhere), ended[4]);
  shut_down();
  for (const Ended& each : ended) {
    EXPECT_EQ(each.times, 1);
    EXPECT_EQ(each.reply.error, make_error_code(OsdErrc::kShutdown));
  }
}

TEST_F(OpEndingTest, ShutdownWithAStalledLinkEndsToo) {
  faults.target = osd(1).address();
  faults.stall = true;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  shut_down();
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kShutdown));
}

}  // namespace
}  // namespace lunar::objecter
