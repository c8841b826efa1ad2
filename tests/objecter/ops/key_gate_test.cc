// SPDX-License-Identifier: LGPL-2.1-or-later
// An op neither ends nor is sent to another server while a server has a key to its memory.
#include "tests/objecter/ops/delivery_fixture.h"

namespace lunar::objecter {
namespace {

using KeyGateTest = DeliveryFixture;

// A read stalls past its timeout, its buffer is used for something else, and then the server
// writes.
TEST_F(KeyGateTest, ALatePushAfterATimeoutReachesNobodysMemory) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(read(object()), ended);
  pass(5100ms);
  EXPECT_EQ(osd(1).cancels, (std::vector<Tid>{tid})) << "asked before anything is taken by force";
  EXPECT_FALSE(ended.is_done) << "the server still has the key";
  EXPECT_EQ(stack->keys_out(), 1u);
  pass(2s);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  EXPECT_EQ(stack->keys_out(), 0u);
  poison();
  move(op, true);
  osd(1).reply(op, pushed(op));
  pass(5s);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_TRUE(moved[0]);
  expect_poisoned();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(counter("keys_revoked"), 1u);
}

// The same where only the end of the link revokes a key: done does not run before that.
TEST_F(KeyGateTest, WithoutWindowsTheLinkIsDroppedForTheKey) {
  osd(1).confirms_cancels = false;
  faults.refuse_revoke = std::make_error_code(std::errc::operation_not_supported);
  Ended ended;
  const auto op = send(read(object()), ended);
  pass(6900ms);
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(stack->keys_out(), 1u);
  pass(300ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(stack->keys_out(), 0u);
  poison();
  move(op, true);
  pass(5s);
  ASSERT_EQ(moved.size(), 1u);
  EXPECT_TRUE(moved[0]) << "a key of a link that is gone";
  expect_poisoned();
  EXPECT_EQ(ended.times, 1);
  // The session goes on over another link.
  Ended next;
  const auto after = send(write(object()), next);
  EXPECT_TRUE(after.op.delivery);
  EXPECT_NE(after.link_generation, op.link_generation);
  faults.refuse_revoke = {};
  osd(1).ops.clear();
  osd(1).reply(after, osd(1).ok(after));
  settle();
  EXPECT_EQ(next.times, 1);
}

// An abort or a LUN reset takes the same way.
TEST_F(KeyGateTest, ALatePushAfterAnAbortReachesNobodysMemory) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(read(object()), ended);
  objecter->cancel(tid);
  pass(1900ms);
  EXPECT_FALSE(ended.is_done);
  pass(200ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kCancelled));
  poison();
  move(op, true);
  osd(1).reply(op, pushed(op));
  pass(5s);
  expect_poisoned();
  EXPECT_EQ(ended.times, 1);
}

TEST_F(KeyGateTest, ALatePullOfATimedOutWriteGetsNothing) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(write(object()), ended);
  pass(7200ms);
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.error, make_error_code(OsdErrc::kTimedOut));
  poison();
  const auto before = copy(staging);
  move(op, false);
  pass(1s);
  EXPECT_TRUE(moved.at(0));
  EXPECT_EQ(copy(staging), before) << "what was not part of the IO left this host";
}

TEST_F(KeyGateTest, AWriteWaitsForItsGraceAlsoWhenTheKeyIsBack) {
  options.cancel_grace = 1s;
  osd(1).confirms_cancels = false;
  options.rkey_revoke_timeout = 100ms;
  shut_down();
  options.cancel_grace = 3s;
  make_objecter();
  settle();
  Ended ended;
  send(write(object()), ended);
  pass(5200ms);
  EXPECT_EQ(stack->keys_out(), 0u);
  EXPECT_FALSE(ended.is_done) << "nobody knows yet whether it executes";
  pass(3s);
  EXPECT_EQ(ended.times, 1);
}

// After the server's answer on the key's own link the key need not be invalidated.
TEST_F(KeyGateTest, CancelledOnTheSameLinkEndsTheOpWithWhateverWasPushedBehindIt) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(read(object()), ended);
  objecter->cancel(tid);
  settle();
  EXPECT_FALSE(ended.is_done);
  move(op, true);
  osd(1).send_cancelled(tid);
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(copy(buffer), copy(staging)) << "it was in front of the word, so before done";
  EXPECT_EQ(counter("keys_revoked"), 0u);
  EXPECT_EQ(stack->keys_out(), 0u);
}

TEST_F(KeyGateTest, AnAnswerWhileTheOpEndsFreesTheKeyToo) {
  osd(1).confirms_cancels = false;
  Ended ended;
  const auto op = send(write(object()), ended);
  pass(5100ms);
  EXPECT_FALSE(ended.is_done);
  osd(1).ops.clear();
  osd(1).reply(op, osd(1).ok(op));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error) << "it was executed after all";
  EXPECT_EQ(counter("keys_revoked"), 0u);
}

TEST_F(KeyGateTest, ShutdownTakesKeysBackFirst) {
  Ended ended;
  send(read(object()), ended);
  shut_down();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(stack->keys_out(), 0u);
}

}  // namespace
}  // namespace lunar::objecter
