// SPDX-License-Identifier: LGPL-2.1-or-later
#include <deque>

#include "tests/objecter/ops/delivery_fixture.h"

namespace lunar::objecter {
namespace {

using PayloadDeliveryTest = DeliveryFixture;

TEST_F(PayloadDeliveryTest, AWriteGoesWithADescriptorAndMayBePulled) {
  Ended ended;
  const auto op = send(write(object()), ended);
  ASSERT_TRUE(op.op.delivery);
  EXPECT_TRUE(op.data.empty());
  EXPECT_EQ(op.op.delivery->access, DeliveryAccess::kPull);
  EXPECT_EQ(op.op.delivery->link_generation, op.link_generation);
  EXPECT_EQ(op.op.delivery->lease_ms, 5000u);
  ASSERT_EQ(op.op.delivery->crcs.size(), 4u);
  EXPECT_EQ(op.op.delivery->crcs[3], crc32c(0, ConstBytes(buffer.bytes()).subspan(3 * 65536)));
  EXPECT_EQ(counter("keys_out"), 1u);
  move(op, false);
  settle();
  ASSERT_EQ(moved, std::vector<std::error_code>(1));
  EXPECT_EQ(copy(staging), copy(buffer));
  osd(1).reply_next();
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(ended.reply.delivery, Delivery::kOneSided);
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kEligible);
  EXPECT_EQ(counter("keys_out"), 0u);
  EXPECT_EQ(counter("keys_revoked"), 0u) << "the answer on its own link frees a key at once";
  EXPECT_EQ(counter("one_sided"), 1u);
  EXPECT_EQ(stack->keys_out(), 0u);
}

TEST_F(PayloadDeliveryTest, AReadIsPushedStraightIntoItsBuffer) {
  Ended ended;
  const auto op = send(read(object()), ended);
  ASSERT_TRUE(op.op.delivery);
  EXPECT_EQ(op.op.delivery->access, DeliveryAccess::kPush);
  move(op, true);
  osd(1).reply(op, pushed(op));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(copy(buffer), copy(staging));
  EXPECT_EQ(counter("payload_copied"), 0u);
  EXPECT_EQ(counter("op_reply_bytes"), 0u) << "nothing travelled in a frame";
}

TEST_F(PayloadDeliveryTest, TheServerMayAnswerAOneSidedReadInline) {
  Ended ended;
  const auto op = send(read(object()), ended);
  osd(1).reply_next(OsdErrc::kOk, copy(staging));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(copy(buffer), copy(staging));
}

TEST_F(PayloadDeliveryTest, WhatWasDamagedOnItsWayIsAskedForInline) {
  faults.damage_push = [](Bytes moved) { moved[77] ^= std::byte{1}; };
  Ended ended;
  const auto op = send(read(object()), ended);
  move(op, true);
  osd(1).reply(op, pushed(op));
  osd(1).ops.clear();
  settle();
  EXPECT_FALSE(ended.is_done);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_FALSE(osd(1).ops.front().op.delivery);
  EXPECT_EQ(osd(1).ops.front().op.attempt, 2u);
  osd(1).reply_next(OsdErrc::kOk, copy(staging));
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_FALSE(ended.reply.error);
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kDamaged);
  EXPECT_EQ(copy(buffer), copy(staging));
  EXPECT_EQ(counter("inline_damaged"), 1u);
}

TEST_F(PayloadDeliveryTest, APushWithoutTheChecksumThatWasAskedForIsDamaged) {
  Ended ended;
  const auto op = send(read(object()), ended);
  auto header = pushed(op);
  header.push_crc.reset();
  osd(1).reply(op, header);
  osd(1).ops.clear();
  settle();
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(counter("inline_damaged"), 1u);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  osd(1).reply_next(OsdErrc::kOk, copy(staging));
  settle();
  EXPECT_EQ(copy(buffer), copy(staging));
}

// Otherwise its key would be sent after its end, and nobody would revoke it.
TEST_F(PayloadDeliveryTest, AnAnswerToWhatHasNotLeftYetIsNone) {
  Ended before;
  const auto first = send(write(object()), before);
  osd(1).reply_next();
  settle();
  std::deque<Ended> crowd(20);  // more than a link takes at a time
  for (Ended& ended : crowd) {
    ObjectOp op = write(object());
    op.delivery.delivery = Delivery::kInline;
    submit(std::move(op), ended);
  }
  Ended ended;
  auto guessed = first;
  guessed.op.tid = submit(write(object()), ended);
  osd(1).reply(guessed, osd(1).ok(guessed));
  settle();
  EXPECT_EQ(counter("reply_ignored"), 1u);
  ASSERT_EQ(osd(1).ops.size(), 21u);
  EXPECT_EQ(stack->keys_out(), 1u);
  while (!osd(1).ops.empty()) osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(stack->keys_out(), 0u);
}

TEST_F(PayloadDeliveryTest, AServerThatCannotPullGetsTheData) {
  Ended ended;
  send(write(object()), ended);
  osd(1).reply_next(OsdErrc::kRetryInline);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops.front().data, copy(buffer));
  EXPECT_EQ(osd(1).ops.front().op.tid, tid) << "the same op";
  osd(1).reply_next();
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kRetryInline);
  EXPECT_EQ(counter("inline_retry"), 1u);
}

TEST_F(PayloadDeliveryTest, WithoutAKeyTheDataGoesInline) {
  faults.refuse_keys = std::make_error_code(std::errc::not_enough_memory);
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kNoKey);
  EXPECT_EQ(counter("inline_no_key"), 1u);
}

TEST_F(PayloadDeliveryTest, MemoryThatIsAnotherDevicesGoesInline) {
  faults.refuse_keys = std::make_error_code(std::errc::operation_not_supported);
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kForeignMemory);
  EXPECT_EQ(counter("inline_foreign_memory"), 1u);
}

TEST_F(PayloadDeliveryTest, MemoryThatIsNotOneRegisteredSliceGoesInline) {
  int number = 0;
  const auto inline_for = [&](auto change) {
    ObjectOp op = write(object());
    change(op);
    Ended ended;
    EXPECT_FALSE(send(std::move(op), ended).op.delivery) << number;
    osd(1).reply_next();
    settle();
    EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kNotRegistered);
    EXPECT_EQ(counter("inline_not_registered"), static_cast<uint64_t>(++number));
  };
  inline_for([](ObjectOp& op) { op.delivery.slice = {}; });
  inline_for([](ObjectOp& op) { op.delivery.slice.offset = 1; });
  inline_for([](ObjectOp& op) { op.delivery.slice.length -= 1; });
  inline_for([&](ObjectOp& op) { op.delivery.slice.buffer = &staging; });
  inline_for([&](ObjectOp& op) {
    op.data = {ConstBytes(buffer.bytes()).first(10), ConstBytes(buffer.bytes()).subspan(10)};
  });
}

TEST_F(PayloadDeliveryTest, WhatIsProposedInlineKeepsItsReason) {
  ObjectOp op = write(object());
  op.delivery.delivery = Delivery::kInline;
  op.delivery.reason = DeliveryReason::kBelowThreshold;
  Ended ended;
  EXPECT_FALSE(send(std::move(op), ended).op.delivery);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.delivery, Delivery::kInline);
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kBelowThreshold);
  EXPECT_EQ(counter("inline_below_threshold"), 1u);
}

TEST_F(PayloadDeliveryTest, WithoutAProposalTheReasonIsTheKindOfOp) {
  std::vector<std::byte> data = pattern(100);
  Ended ended;
  EXPECT_FALSE(send(write_op(object(), data), ended).op.delivery);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kOpKind);
  EXPECT_EQ(counter("inline_op_kind"), 1u);
}

TEST_F(PayloadDeliveryTest, AReplayOnAnotherLinkCarriesTheData) {
  Ended before;
  send(write(object()), before);  // so that there is a session
  osd(1).reply_next();
  settle();
  faults.target = osd(1).address();
  faults.fail_sends = 1;  // the frame with the descriptor does not leave
  Ended ended;
  const Tid first = submit(write(object()), ended);
  pass(3s);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops.front().op.tid, first);
  EXPECT_EQ(osd(1).ops.front().op.attempt, 1u);
  EXPECT_EQ(osd(1).ops.front().data, copy(buffer));
  EXPECT_EQ(stack->keys_out(), 0u) << "the key went with its link";
  osd(1).reply_next();
  settle();
  ASSERT_EQ(ended.times, 1);
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kResend);
  EXPECT_EQ(counter("inline_resend"), 1u);
}

TEST_F(PayloadDeliveryTest, AnAnswerOnAnotherLinkDoesNotEndTheOpBeforeTheKeyIsKnownDead) {
  Ended ended;
  const auto op = send(write(object()), ended);
  pass(100ms);  // the op is acknowledged: it will not be replayed
  faults.target = osd(1).address();
  faults.fail_sends = 1;
  Ended other;
  std::vector<std::byte> small = pattern(100);
  submit(write_op(object(), small), other);
  pass(3s);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
  EXPECT_EQ(counter("keys_revoked"), 1u);
  osd(1).reply_next();
  settle();
  EXPECT_EQ(other.times, 1);
}

TEST_F(PayloadDeliveryTest, AResetTakesTheKeyAndResendsInline) {
  Ended ended;
  send(write(object()), ended);
  restart(1);
  ASSERT_EQ(osd(1).ops.size(), 1u);
  EXPECT_EQ(osd(1).ops.front().data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
}

TEST_F(PayloadDeliveryTest, AnOpThatMovesGoesToItsNewServerWithoutTheOldOneHavingAKey) {
  Ended ended;
  send(write(object()), ended);
  OsdMap next = map;
  ++next.epoch;
  next.pools[0].members = {{0, 0x10000}};
  set_map(std::move(next));
  settle();
  EXPECT_EQ(stack->keys_out(), 0u);
  ASSERT_EQ(osd(0).ops.size(), 1u);
  EXPECT_EQ(osd(0).ops.front().data, copy(buffer));
  osd(0).reply_next();
  settle();
  EXPECT_EQ(ended.times, 1);
}

TEST_F(PayloadDeliveryTest, APushNobodyAskedForIsNoAnswer) {
  ObjectOp op = read(object());
  op.delivery.delivery = Delivery::kInline;
  Ended ended;
  const auto received = send(std::move(op), ended);
  osd(1).reply(received, pushed(received));
  settle();
  EXPECT_FALSE(ended.is_done);
  EXPECT_EQ(counter("reply_ignored"), 1u);
  osd(1).reply_next(OsdErrc::kOk, copy(staging));
  settle();
  EXPECT_EQ(ended.times, 1);
}

// --- peers and links that cannot do one-sided delivery ---

class FewWindowsTest : public DeliveryFixture {
 protected:
  FewWindowsTest() : DeliveryFixture(one_sided_stack(1)) {}
};

TEST_F(FewWindowsTest, TheOpThatFindsNoneGoesInlineAndTheNextHasOneAgain) {
  Ended first, second, third;
  submit(write(object()), first);
  submit(write(object()), second);
  settle();
  ASSERT_EQ(osd(1).ops.size(), 2u);
  EXPECT_TRUE(osd(1).ops[0].op.delivery);
  EXPECT_FALSE(osd(1).ops[1].op.delivery);
  osd(1).reply_next();
  osd(1).reply_next();
  settle();
  EXPECT_EQ(second.reply.delivery_reason, DeliveryReason::kNoKey);
  EXPECT_TRUE(send(write(object()), third).op.delivery);
  osd(1).reply_next();
  settle();
}

class OldServerTest : public DeliveryFixture {
 protected:
  OldServerTest() { server_options.one_sided = false; }
};

TEST_F(OldServerTest, GetsTheDataInFrames) {
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kPeerLacks);
  EXPECT_EQ(counter("inline_peer_lacks"), 1u);
}

class PlainLinkTest : public DeliveryFixture {
 protected:
  PlainLinkTest() : DeliveryFixture(msgr::LoopbackOptions()) {}
};

TEST_F(PlainLinkTest, CarriesTheDataInFrames) {
  Ended ended;
  EXPECT_EQ(send(write(object()), ended).data, copy(buffer));
  osd(1).reply_next();
  settle();
  EXPECT_EQ(ended.reply.delivery_reason, DeliveryReason::kLinkLacks);
  EXPECT_EQ(counter("inline_link_lacks"), 1u);
}

}  // namespace
}  // namespace lunar::objecter
