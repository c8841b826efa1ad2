// SPDX-License-Identifier: LGPL-2.1-or-later
// A server is not trusted: a reply that does not match its op changes nothing.
#include "tests/objecter/objecter_fixture.h"

namespace lunar::objecter {
namespace {

class OpRepliesTest : public ObjecterFixture {
 protected:
  void SetUp() override {
    start(2);
    read_tid = submit(read_op(object_on(1), into), read);
    settle();
    ASSERT_EQ(osd(1).ops.size(), 1u);
    good = osd(1).ok(osd(1).ops.front());
    good.steps[0].data_length = 4096;
  }
  void send(const OsdReplyHeader& header, std::size_t bytes) {
    osd(1).reply(osd(1).ops.front(), header, pattern(bytes, 3));
    settle();
  }
  void expect_ignored() {
    EXPECT_FALSE(read.is_done);
    EXPECT_EQ(counter("reply_ignored"), 1u);
    send(good, 4096);
    EXPECT_EQ(read.times, 1);
    EXPECT_FALSE(read.reply.error);
    EXPECT_EQ(into, pattern(4096, 3));
  }
  std::vector<std::byte> into = std::vector<std::byte>(4096);
  Ended read;
  Tid read_tid = 0;
  OsdReplyHeader good;
};

TEST_F(OpRepliesTest, ShortReadIsIgnored) {
  auto bad = good;
  bad.steps[0].data_length = 4095;
  send(bad, 4095);
  expect_ignored();
}

TEST_F(OpRepliesTest, LongReadIsIgnored) {
  auto bad = good;
  bad.steps[0].data_length = 8192;
  send(bad, 8192);
  expect_ignored();
}

TEST_F(OpRepliesTest, UnknownTidIsIgnored) {
  auto bad = good;
  bad.tid = 999;
  send(bad, 4096);
  expect_ignored();
}

TEST_F(OpRepliesTest, AnotherAttemptIsIgnored) {
  auto bad = good;
  bad.attempt = 2;
  send(bad, 4096);
  expect_ignored();
}

TEST_F(OpRepliesTest, MissingStepsAreIgnored) {
  auto bad = good;
  bad.steps.clear();
  send(bad, 0);
  expect_ignored();
}

TEST_F(OpRepliesTest, TooManyStepsAreIgnored) {
  auto bad = good;
  bad.steps.push_back({});
  send(bad, 4096);
  expect_ignored();
}

TEST_F(OpRepliesTest, GoodReplyWithABadStepIsIgnored) {
  auto bad = good;
  bad.steps[0].error = OsdErrc::kIoError;
  send(bad, 4096);
  expect_ignored();
}

TEST_F(OpRepliesTest, ReplyFromAnotherServerIsIgnored) {
  osd(0).send_raw(
      MessageType::kOsdOpReply,
      [&] {
        std::vector<std::byte> front;
        auto other = good;
        other.steps[0].data_length = 0;
        other.error = other.steps[0].error = OsdErrc::kIoError;
        encode(other, front);
        return front;
      }(),
      read_tid);
  settle();
  expect_ignored();
}

TEST_F(OpRepliesTest, NoiseIsIgnored) {
  osd(1).send_raw(MessageType::kOsdOpReply, pattern(30), read_tid);
  settle();
  osd(1).send_raw(static_cast<MessageType>(999), pattern(30));
  osd(1).send_raw(MessageType::kCancelled, pattern(3));
  osd(1).send_raw(MessageType::kMapCurrent, pattern(3));
  osd(1).send_raw(MessageType::kServerHello, pattern(3));
  settle();
  expect_ignored();
}

TEST_F(OpRepliesTest, ErrorKeepsItsIdentityAndItsStep) {
  good.error = OsdErrc::kIoError;
  good.steps[0] = {OsdErrc::kIoError, 0, 17};
  send(good, 0);
  ASSERT_TRUE(read.is_done);
  EXPECT_EQ(read.reply.error, make_error_code(OsdErrc::kIoError));
  EXPECT_EQ(read.reply.steps[0].value, 17u);
  EXPECT_EQ(into, std::vector<std::byte>(4096));
}

TEST_F(OpRepliesTest, MiscompareTellsTheOffset) {
  auto data = pattern(1024);
  ObjectOp op;
  op.object = {1, object_on(1)};
  op.steps = {make_step(OpCode::kCmpExt, 0, 512, 512), make_step(OpCode::kWrite, 0, 512, 512)};
  op.data.push_back(data);
  Ended ended;
  submit(std::move(op), ended);
  settle();
  auto header = osd(1).ok(osd(1).ops.back());
  header.error = header.steps[0].error = OsdErrc::kMiscompare;
  header.steps[0].value = 300;
  header.steps.resize(1);
  osd(1).reply(osd(1).ops.back(), header);
  settle();
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kMiscompare));
  ASSERT_EQ(ended.reply.steps.size(), 1u);
  EXPECT_EQ(ended.reply.steps[0].value, 300u);
  EXPECT_EQ(counter("op_rmw"), 1u);
}

TEST_F(OpRepliesTest, RetryInlineIsSentAgainAtOnce) {
  auto header = good;
  header.error = header.steps[0].error = OsdErrc::kRetryInline;
  header.steps[0].data_length = 0;
  osd(1).reply(osd(1).ops.front(), header);
  osd(1).ops.clear();
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops[0].op.attempt, 2u);
  EXPECT_EQ(osd(1).ops[0].op.tid, read_tid);
  good.attempt = 2;
  send(good, 4096);
  EXPECT_EQ(read.times, 1);
  EXPECT_EQ(into, pattern(4096, 3));
}

TEST_F(OpRepliesTest, SecondReplyIsIgnored) {
  const auto received = osd(1).ops.front();
  send(good, 4096);
  ASSERT_EQ(read.times, 1);
  std::fill(into.begin(), into.end(), std::byte{0xee});
  osd(1).reply(received, good, pattern(4096, 3));
  settle();
  EXPECT_EQ(read.times, 1);
  EXPECT_EQ(into, std::vector<std::byte>(4096, std::byte{0xee}));
}

}  // namespace
}  // namespace lunar::objecter
