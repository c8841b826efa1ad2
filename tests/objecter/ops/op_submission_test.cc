// SPDX-License-Identifier: LGPL-2.1-or-later
#include <functional>
#include <nlohmann/json.hpp>

#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

using OpSubmissionTest = ObjecterFixture;

TEST_F(OpSubmissionTest, WriteReachesItsServerAndIsAnswered) {
  start(3);
  for (OsdId id = 0; id < 3; ++id) {
    auto data = pattern(4096);
    Ended ended;
    const Tid tid = submit(write_op(object_on(id), data), ended);
    settle();
    ASSERT_EQ(osd(id).ops.size(), 1u);
    const auto& received = osd(id).ops.front();
    EXPECT_EQ(received.op.tid, tid);
    EXPECT_EQ(received.op.oldest_tid, tid);
    EXPECT_EQ(received.op.attempt, 1u);
    EXPECT_EQ(received.op.epoch, 5u);
    EXPECT_EQ(received.op.image, 77u);
    EXPECT_EQ(received.op.pg, pg_of_object(map.pools[0], object_on(id)));
    EXPECT_EQ(received.data, data);
    EXPECT_EQ(received.trace_id, 0x1du) << "io_id travels with it";
    EXPECT_FALSE(ended.is_done);
    osd(id).reply_next();
    settle();
    EXPECT_TRUE(ended.is_done);
    EXPECT_FALSE(ended.reply.error) << ended.reply.error.message();
    EXPECT_EQ(ended.reply.version.counter, tid);
    ASSERT_EQ(ended.reply.steps.size(), 1u);
  }
  EXPECT_EQ(counter("op_send"), 3u);
  EXPECT_EQ(counter("op_w"), 3u);
  EXPECT_EQ(counter("op_active"), 0u);
  EXPECT_EQ(counter("op_inflight_bytes"), 0u);
}

TEST_F(OpSubmissionTest, ReadArrivesWhereItShould) {
  start(1);
  std::vector<std::byte> into(8192);
  Ended ended;
  submit(read_op("x", into), ended);
  settle();
  const auto data = pattern(8192, 9);
  osd(0).reply_next(OsdErrc::kOk, data);
  settle();
  ASSERT_TRUE(ended.is_done);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(into, data);
  EXPECT_TRUE(ended.data.empty()) << "it is in read_into";
}

TEST_F(OpSubmissionTest, ReadWithoutAPlaceIsInTheReply) {
  start(1);
  ObjectOp op;
  op.object = {1, "x"};
  op.steps = {make_step(OpCode::kSparseRead, 0, 4096)};
  Ended ended;
  submit(std::move(op), ended);
  settle();
  const auto data = pattern(100);
  osd(0).reply_next(OsdErrc::kOk, data);
  settle();
  ASSERT_TRUE(ended.is_done);
  EXPECT_EQ(ended.data, data);
}

TEST_F(OpSubmissionTest, DoneNeverRunsInsideSubmit) {
  start(1);
  Ended invalid;
  ObjectOp op;
  op.object = {1, "bad/name"};
  op.steps = {make_step(OpCode::kStat)};
  submit(std::move(op), invalid);
  EXPECT_FALSE(invalid.is_done);
  settle();
  ASSERT_TRUE(invalid.is_done);
  EXPECT_EQ(invalid.reply.error, make_error_code(OsdErrc::kInvalid));
  EXPECT_EQ(osd(0).ops_seen, 0u);
}

TEST_F(OpSubmissionTest, MoreDataThanAFrameOfOursCarriesIsTooLarge) {
  client_options.limits.max_data_bytes = 1u << 20;
  start(1);
  auto data = pattern((1u << 20) + 1);
  Ended ended;
  submit(write_op("x", data), ended);
  settle();
  ASSERT_TRUE(ended.is_done);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTooLarge));
  data.pop_back();
  Ended fits;
  submit(write_op("x", data), fits);
  settle();
  EXPECT_EQ(osd(0).ops_seen, 1u);
  osd(0).reply_next();
  settle();
  EXPECT_FALSE(fits.reply.error);
}

TEST_F(OpSubmissionTest, OpsThatBreakARuleAreNotSent) {
  start(1);
  auto data = pattern(512);
  std::vector<std::byte> into(100);
  std::vector<ObjectOp> bad;
  bad.push_back(write_op("x", data));
  bad.back().data.clear();  // less than its steps need
  bad.push_back(write_op("x", data));
  bad.back().object.pool = 0;
  bad.push_back(read_op("x", into));
  bad.back().steps[0].length = 99;  // not the length of read_into
  bad.push_back(read_op("x", into));
  bad.back().steps.push_back(make_step(OpCode::kRead, 0, 100));  // two reads, one place
  bad.push_back(read_op("x", into));
  bad.back().steps[0].code = OpCode::kSparseRead;
  bad.push_back(read_op("x", into));
  bad.back().steps.clear();
  for (ObjectOp& op : bad) {
    Ended ended;
    submit(std::move(op), ended);
    settle();
    ASSERT_TRUE(ended.is_done);
    EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kInvalid));
  }
  EXPECT_EQ(osd(0).ops_seen, 0u);
  EXPECT_EQ(counter("op_active"), 0u);
}

TEST_F(OpSubmissionTest, OpsOnOneObjectArriveInSubmitOrder) {
  start(2);
  std::vector<std::byte> data = pattern(64);
  std::vector<Ended> ended(50);
  std::vector<Tid> tids;
  for (Ended& each : ended) tids.push_back(submit(write_op(object_on(1), data), each));
  settle();
  ASSERT_EQ(osd(1).ops.size(), 50u);
  for (std::size_t i = 0; i < 50; ++i) EXPECT_EQ(osd(1).ops[i].op.tid, tids[i]);
  while (!osd(1).ops.empty()) osd(1).reply_next();
  settle();
  for (const Ended& each : ended) EXPECT_EQ(each.times, 1);
}

TEST_F(OpSubmissionTest, OldestTidMovesWithTheOldestOpOfThatServer) {
  start(2);
  std::vector<std::byte> data = pattern(64);
  Ended stuck_elsewhere, first, second, third;
  submit(write_op(object_on(0), data), stuck_elsewhere);
  const Tid first_tid = submit(write_op(object_on(1), data), first);
  submit(write_op(object_on(1), data), second);
  settle();
  EXPECT_EQ(osd(1).ops[0].op.oldest_tid, first_tid);
  EXPECT_EQ(osd(1).ops[1].op.oldest_tid, first_tid);
  osd(1).reply_next();
  settle();
  submit(write_op(object_on(1), data), third);
  settle();
  EXPECT_EQ(osd(1).ops[1].op.oldest_tid, first_tid + 1) << "another server's ops do not hold it";
  shut_down();  // before the buffer goes
}

TEST_F(OpSubmissionTest, OpsAboveTheLimitWaitAndGoInOrder) {
  options.max_in_flight_ops = 2;
  start(1);
  std::vector<std::byte> data = pattern(64);
  std::vector<Ended> ended(5);
  for (Ended& each : ended) submit(write_op("x", data), each);
  settle();
  EXPECT_EQ(osd(0).ops.size(), 2u);
  EXPECT_EQ(counter("op_throttled"), 3u);
  for (std::size_t i = 0; i < 5; ++i) {
    ASSERT_FALSE(osd(0).ops.empty());
    EXPECT_LE(osd(0).ops.size(), 2u);
    osd(0).reply_next();
    settle();
    EXPECT_TRUE(ended[i].is_done);
  }
}

TEST_F(OpSubmissionTest, BytesAboveTheLimitWait) {
  options.max_in_flight_bytes = 10'000;
  start(1);
  auto data = pattern(6000);
  std::vector<std::byte> into(6000);
  Ended write, read;
  submit(write_op("x", data), write);
  submit(read_op("x", into), read);
  settle();
  EXPECT_EQ(osd(0).ops.size(), 1u) << "what a read will bring counts too";
  osd(0).reply_next();
  settle();
  ASSERT_EQ(osd(0).ops.size(), 1u);
  osd(0).reply_next(OsdErrc::kOk, data);
  settle();
  EXPECT_TRUE(read.is_done);
  EXPECT_EQ(into, data);
}

TEST_F(OpSubmissionTest, SubmittingInsideDoneWorks) {
  options.max_in_flight_ops = 1;
  start(1);
  osd(0).answer = [this](const auto& received) { return osd(0).ok(received); };
  auto data = pattern(64);
  int count = 0;
  std::function<void()> go = [&] {
    objecter->submit(write_op("x", data), [&](OpReply reply) {
      EXPECT_FALSE(reply.error);
      if (++count < 100) go();
    });
  };
  go();
  settle();
  EXPECT_EQ(count, 100);
  EXPECT_EQ(osd(0).ops_seen, 100u);
}

TEST_F(OpSubmissionTest, OpsInFlightAreShown) {
  start(1);
  auto data = pattern(64);
  Ended ended;
  const Tid tid = submit(write_op("x", data), ended);
  pass(1500ms);
  const auto json = nlohmann::json::parse(objecter->ops_in_flight_json());
  ASSERT_EQ(json["ops"].size(), 1u);
  const auto& op = json["ops"][0];
  EXPECT_EQ(op["tid"], tid);
  EXPECT_EQ(op["object_id"], "x");
  EXPECT_EQ(op["osd"], 0);
  EXPECT_EQ(op["state"], "sent");
  EXPECT_EQ(op["attempts"], 1);
  EXPECT_NEAR(op["age"].get<double>(), 1.5, 0.01);
  EXPECT_EQ(op["osd_ops"][0], "write 0~64");
  const auto sessions = nlohmann::json::parse(objecter->sessions_json());
  EXPECT_EQ(sessions["epoch"], 5);
  EXPECT_EQ(sessions["sessions"][0]["state"], "open");
  EXPECT_EQ(sessions["sessions"][0]["ops"], 1);
  osd(0).reply_next();
  settle();
  EXPECT_TRUE(nlohmann::json::parse(objecter->ops_in_flight_json())["ops"].empty());
}

}  // namespace
}  // namespace lunar::objecter
