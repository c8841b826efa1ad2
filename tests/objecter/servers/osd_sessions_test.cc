// SPDX-License-Identifier: LGPL-2.1-or-later
// Which ops are sent again, and which are not, when links, sessions and servers end.
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

class OsdSessionsTest : public ObjecterFixture {
 protected:
  void SetUp() override { start(2); }
  std::vector<std::byte> data = pattern(512);
  std::vector<std::byte> into = std::vector<std::byte>(512);
};

TEST_F(OsdSessionsTest, NothingIsSentBeforeTheHello) {
  osd(1).says_hello = false;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  EXPECT_EQ(osd(1).sessions, 1u);
  EXPECT_EQ(osd(1).ops_seen, 0u);
  osd(1).say_hello();
  settle();
  EXPECT_EQ(osd(1).ops.size(), 1u);
}

TEST_F(OsdSessionsTest, LostLinkIsTheMessengersBusiness) {
  Ended ended;
  submit(write_op("x", data), ended);
  settle();
  const OsdId id = map.pools[0].members[osd(0).ops.empty() ? 1 : 0].osd;
  faults.target = osd(id).address();
  faults.fail_sends = 1;
  Ended second;
  submit(write_op("x", data), second);
  pass(2s);
  ASSERT_EQ(osd(id).ops.size(), 2u) << "the session replayed what the link lost";
  EXPECT_EQ(osd(id).ops[0].op.attempt, 1u);
  EXPECT_EQ(osd(id).ops[1].op.attempt, 1u);
  EXPECT_EQ(osd(id).sessions, 1u);
  EXPECT_EQ(counter("op_resend"), 0u);
}

TEST_F(OsdSessionsTest, SameProcessThatRemembersGetsEverythingAgain) {
  Ended change, plain, read;
  const Tid first = submit(write_op(object_on(1), data, 0), change);
  submit(write_op(object_on(1), data), plain);
  submit(read_op(object_on(1), into), read);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 3u);
  restart(1, true);
  ASSERT_EQ(osd(1).ops.size(), 3u) << "in a new session, in the same order";
  EXPECT_EQ(osd(1).sessions, 2u);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(osd(1).ops[i].op.tid, first + i) << "with the same tids";
    EXPECT_EQ(osd(1).ops[i].op.attempt, 2u);
  }
  EXPECT_EQ(osd(1).ops[0].data, data);
  osd(1).reply_next();
  osd(1).reply_next();
  osd(1).reply_next(OsdErrc::kOk, data);
  settle();
  for (const Ended* each : {&change, &plain, &read}) {
    EXPECT_EQ(each->times, 1);
    EXPECT_FALSE(each->reply.error);
  }
  EXPECT_EQ(into, data);
  EXPECT_EQ(counter("op_resend"), 3u);
  EXPECT_EQ(counter("osd_session_reset"), 1u);
}

TEST_F(OsdSessionsTest, NewProcessGetsOnlyWhatMayBeRepeated) {
  Ended change, plain, read;
  submit(write_op(object_on(1), data, 0), change);
  const Tid plain_tid = submit(write_op(object_on(1), data), plain);
  submit(read_op(object_on(1), into), read);
  settle();
  restart(1);
  EXPECT_EQ(change.times, 1);
  EXPECT_EQ(change.reply.error, make_error_code(OsdErrc::kUnknownOutcome));
  ASSERT_EQ(osd(1).ops.size(), 2u);
  EXPECT_EQ(osd(1).ops[0].op.tid, plain_tid);
  EXPECT_FALSE(plain.is_done);
  EXPECT_EQ(counter("op_unknown_outcome"), 1u);
}

TEST_F(OsdSessionsTest, SameProcessThatForgotTheClientIsLikeANewOne) {
  Ended change;
  submit(write_op(object_on(1), data, 0), change);
  settle();
  osd(1).hello.remembers_client = false;
  osd(1).drop_sessions();
  pass(3s);
  EXPECT_EQ(change.reply.error, make_error_code(OsdErrc::kUnknownOutcome));
  EXPECT_TRUE(osd(1).ops.empty());
}

TEST_F(OsdSessionsTest, ChangeThatWasNeverSentSurvivesARestart) {
  osd(1).says_hello = false;
  Ended change;
  submit(write_op(object_on(1), data, 0), change);
  settle();
  osd(1).says_hello = true;
  restart(1);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops[0].op.attempt, 1u);
  osd(1).reply_next();
  settle();
  EXPECT_FALSE(change.reply.error);
  EXPECT_EQ(change.times, 1);
}

TEST_F(OsdSessionsTest, ReplyToAnEarlierSendingIsIgnored) {
  Ended ended;
  submit(read_op(object_on(1), into), ended);
  settle();
  restart(1, true);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  auto header = osd(1).ok(osd(1).ops[0]);
  header.attempt = 1;
  header.steps[0].data_length = 512;
  osd(1).reply(osd(1).ops[0], header, pattern(512, 99));
  settle();
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(counter("reply_ignored"), 1u);
  EXPECT_EQ(into, std::vector<std::byte>(512)) << "and its data is put nowhere";
  osd(1).reply_next(OsdErrc::kOk, data);
  settle();
  EXPECT_EQ(into, data);
}

TEST_F(OsdSessionsTest, ServerThatIsSomebodyElseGetsNothing) {
  osd(1).hello.osd = 0;
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(1s);
  EXPECT_EQ(osd(1).ops_seen, 0u);
  EXPECT_FALSE(ended.is_done);
  osd(1).hello.osd = 1;
  restart(1);
  EXPECT_EQ(osd(1).ops_seen, 1u);
}

// As when its store was lost, and made anew with the same id.
TEST_F(OsdSessionsTest, ServerOnAnotherStoreGetsNothing) {
  osd(1).hello.store = Uuid::random();
  Ended ended;
  submit(read_op(object_on(1), into), ended);
  pass(1s);
  EXPECT_EQ(osd(1).ops_seen, 0u);
  EXPECT_FALSE(ended.is_done);
  EXPECT_GT(osd(0).subscriptions.size(), 1u) << "it asks for a newer map";
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].store = osd(1).hello.store;
  set_map(next);
  settle();
  EXPECT_EQ(osd(1).ops_seen, 1u) << "on the session that it has";
}

TEST_F(OsdSessionsTest, ServerOnAnotherStoreCostsTheOpItsTimeAndNoMore) {
  osd(1).hello.store = Uuid::random();
  Ended ended;
  submit(read_op(object_on(1), into), ended);
  pass(21s);
  EXPECT_TRUE(ended.is_done);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
}

TEST_F(OsdSessionsTest, AStartThatTheMapDoesNotShowYetWaitsForTheMap) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].incarnation = osd(1).hello.incarnation;
  set_map(next);
  settle();
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  restart(1);  // as another start
  pass(1s);
  EXPECT_EQ(osd(1).ops.size(), 0u);
  next.epoch = 7;
  next.osds[1].incarnation = osd(1).hello.incarnation;
  set_map(next);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  osd(1).reply_next();
  settle();
  EXPECT_TRUE(ended.is_done);
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(OsdSessionsTest, AnOlderStartThanTheMapsGetsNothing) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].incarnation = osd(1).hello.incarnation + 1;
  set_map(next);
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(1s);
  EXPECT_EQ(osd(1).ops_seen, 0u);
}

TEST_F(OsdSessionsTest, ServerOfAnotherClusterGetsNothing) {
  osd(1).map->fsid = Uuid::random();
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(1s);
  EXPECT_EQ(osd(1).ops_seen, 0u);
  EXPECT_EQ(objecter->map()->fsid, map.fsid);
}

TEST_F(OsdSessionsTest, DownServerIsWaitedFor) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].up = false;
  set_map(next);
  settle();
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(5s);
  EXPECT_EQ(osd(1).ops_seen, 0u);
  EXPECT_FALSE(ended.is_done) << "placement does not change";
  next.epoch = 7;
  next.osds[1].up = true;
  set_map(next);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops[0].op.attempt, 1u);
}

TEST_F(OsdSessionsTest, ReplyOfAServerThatTheMapCallsDownCounts) {
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  settle();
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].up = false;
  set_map(next);
  settle();
  osd(1).reply_next();
  settle();
  EXPECT_TRUE(ended.is_done);
  EXPECT_FALSE(ended.reply.error);
}

TEST_F(OsdSessionsTest, ServerAtANewAddressGetsWhatWasInFlight) {
  Ended write, read;
  submit(write_op(object_on(1), data), write);
  submit(read_op(object_on(1), into), read);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 2u);
  // The same OSD, moved to another port.
  servers.push_back(std::make_unique<test::FakeOsd>(*center, *stack, 1, server_options, nullptr));
  auto& moved = *servers.back();
  moved.hello.incarnation = 4711;
  moved.hello.remembers_client = false;
  moved.start();
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].addresses = {moved.address()};
  set_map(next);
  pass(1s);
  ASSERT_EQ(moved.ops.size(), 2u);
  EXPECT_EQ(moved.ops[0].data, data);
  EXPECT_EQ(moved.ops[0].op.attempt, 2u);
  moved.reply_next();
  moved.reply_next(OsdErrc::kOk, data);
  settle();
  EXPECT_EQ(write.times, 1);
  EXPECT_EQ(read.times, 1);
  EXPECT_EQ(into, data);
}

TEST_F(OsdSessionsTest, SecondAddressIsTriedWhenTheFirstIsDead) {
  OsdMap next = map;
  next.epoch = 6;
  next.osds[1].addresses = {msgr::Address::loopback(9), osd(1).address()};
  set_map(next);
  settle();
  Ended ended;
  submit(write_op(object_on(1), data), ended);
  pass(8s);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops[0].op.attempt, 1u);
}

TEST_F(OsdSessionsTest, ManyRestartsUnderLoadLoseAndRepeatNothing) {
  std::map<Tid, int> executed;  // by a server that remembers results
  osd(1).answer = [&](const test::FakeOsd::Received& received) {
    ++executed[received.op.tid];
    return std::optional(osd(1).ok(received));
  };
  std::vector<Ended> ended(60);
  for (std::size_t i = 0; i < ended.size(); ++i) {
    submit(write_op(object_on(1), data), ended[i]);
    if (i % 6 == 5) restart(1, true);
    if (i % 4 == 3) settle();
  }
  pass(5s);
  for (const Ended& each : ended) {
    EXPECT_EQ(each.times, 1);
    EXPECT_FALSE(each.reply.error);
  }
  EXPECT_EQ(executed.size(), ended.size());
}

}  // namespace
}  // namespace lunar::objecter
