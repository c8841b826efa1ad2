// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/send_side.h"

#include "tests/msgr/rdma/link/link_core_fixture.h"

namespace lunar::msgr::rdma {
namespace {

class SendSideTest : public LinkCoreTest {
 protected:
  // As the link does: runs what has finished.
  bool complete(SendSide& side, uint32_t seq, ibv_wc_status status = IBV_WC_SUCCESS) {
    SendSide::Retired retired = side.on_completion(seq, status);
    for (IoDone& done : retired.finished) done({});
    return retired.has_farewell;
  }
  static Segment granting(uint16_t credits) {
    Segment segment;
    segment.type = SegmentType::kCredits;
    segment.granted = credits;
    return segment;
  }
};

TEST_F(SendSideTest, FramesOfOneTurnLeaveInOneSegment) {
  const auto side = make_send_side();
  SentCounter sent;
  side->send(sealed(1, "one"), sent.add());
  side->send(sealed(2, "two"), sent.add());
  EXPECT_GT(side->queued_bytes(), 0u);
  EXPECT_EQ(qp_.num_posts, 0) << "not as they are queued";
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 1u);
  EXPECT_EQ(qp_.num_posts, 1);
  EXPECT_TRUE(qp_.requests[0].is_signalled) << "the last one of a post";
  EXPECT_EQ(side->queued_bytes(), 0u);
  EXPECT_EQ(core_->counters.frames_sent, 2u);
  EXPECT_EQ(sent.total(), 0u);
  complete(*side, qp_.requests[0].seq());
  EXPECT_TRUE(sent.each_once());
  EXPECT_FALSE(sent.results[0] || sent.results[1]);
}

TEST_F(SendSideTest, WithoutACreditFramesWaitForTheGrant) {
  const auto side = make_send_side(PostChain::kMaxInline);
  while (core_->credits.send.in_hand() > 0) core_->credits.send.spend();
  side->send(sealed(1, "one"), {});
  center_->run_until_idle();
  EXPECT_EQ(qp_.requests.size(), 0u);
  EXPECT_EQ(of_qp_.value(Count::kCreditStalls), 1u);
  ASSERT_TRUE(core_->credits.take(granting(1)));
  side->on_credits(granting(1));
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 1u);
  EXPECT_EQ(qp_.requests[0].segment().type, SegmentType::kFrames);
  EXPECT_NE(qp_.requests[0].segment().flags & kSegmentAcknowledges, 0) << "kCredits has come";
  EXPECT_EQ(core_->credits.send.in_hand(), 0u);
}

TEST_F(SendSideTest, WithoutABounceBufferFramesWaitForOne) {
  const auto side = make_send_side();
  std::vector<uint32_t> taken;
  while (const auto index = bounces_.take()) taken.push_back(*index);
  side->send(sealed(1, "one"), {});
  center_->run_until_idle();
  EXPECT_EQ(qp_.requests.size(), 0u);
  EXPECT_EQ(of_qp_.value(Count::kBounceStalls), 1u);
  bounces_.put(taken.back());
  ASSERT_EQ(woken_.size(), 1u);
  EXPECT_EQ(woken_[0], core_->slot);
  side->on_bounce_free();
  center_->run_until_idle();
  EXPECT_EQ(qp_.requests.size(), 1u);
  EXPECT_FALSE(bounces_.take()) << "it holds the one";
  complete(*side, qp_.requests[0].seq());
  EXPECT_TRUE(bounces_.take());
}

TEST_F(SendSideTest, ALongFrameFinishesWithItsLastSegment) {
  const auto side = make_send_side(PostChain::kMaxInline);
  SentCounter sent;
  side->send(sealed(1, test_pattern(3 * kSegmentBytes, 1)), sent.add());
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 4u);
  EXPECT_EQ(core_->credits.send.in_hand(), kCredits - 4u);
  complete(*side, qp_.requests[2].seq());
  EXPECT_EQ(sent.total(), 0u);
  complete(*side, qp_.requests[3].seq());
  EXPECT_EQ(sent.total(), 1u);
}

TEST_F(SendSideTest, AFailedCompletionEndsTheQpAfterWhatCameBeforeIt) {
  const auto side = make_send_side(PostChain::kMaxInline);
  SentCounter sent;
  side->send(sealed(1, test_pattern(400, 1)), sent.add());
  side->send(sealed(2, test_pattern(400, 2)), sent.add());
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 2u);
  complete(*side, qp_.requests[1].seq(), IBV_WC_RETRY_EXC_ERR);
  EXPECT_TRUE(has_qp_failed_);
  EXPECT_EQ(failure_, wc_error(IBV_WC_RETRY_EXC_ERR));
  side->stop();
  std::vector<IoDone> unfinished;
  side->take_unfinished(unfinished);
  EXPECT_EQ(sent.total() + unfinished.size(), 2u);
  EXPECT_GE(unfinished.size(), 1u);
}

TEST_F(SendSideTest, WhatTheDeviceDoesNotTakeIsNotInFlight) {
  const auto side = make_send_side();
  qp_.room = 1;
  side->send(sealed(1, test_pattern(3 * kSegmentBytes, 1)), {});
  center_->run_until_idle();
  EXPECT_EQ(qp_.requests.size(), 1u);
  EXPECT_TRUE(has_qp_failed_);
  EXPECT_EQ(failure_, std::errc::not_enough_memory);
  side->release_bounces();
  int free = 0;
  while (bounces_.take()) ++free;
  EXPECT_EQ(free, 4) << "those of what was taken, and of what was not";
}

TEST_F(SendSideTest, ReadsGoAsReadCreditsAllowAndBeforeFrames) {
  const auto side = make_send_side(PostChain::kMaxInline);
  SentCounter sent, read;
  side->send(sealed(1, "frame"), sent.add());
  side->read(transfer(3 * 4096, read.add()));
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 3u);
  EXPECT_EQ(qp_.requests[0].opcode, IBV_WR_RDMA_READ);
  EXPECT_EQ(qp_.requests[1].remote_addr, (1u << 20) + 4096u);
  EXPECT_EQ(qp_.requests[2].opcode, IBV_WR_SEND);
  complete(*side, qp_.requests[0].seq());
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 4u) << "one credit, one fragment";
  complete(*side, qp_.requests[3].seq());
  EXPECT_EQ(read.total(), 1u);
  EXPECT_EQ(sent.total(), 1u);
}

TEST_F(SendSideTest, WritesAndBindsKeepTheirPlaceAmongFrames) {
  const auto side = make_send_side(PostChain::kMaxInline);
  ibv_mr mr{};
  const auto key = keys_.expose(remote_, {1, 2, &mr}, RemoteAccess::kRead);
  ASSERT_TRUE(key);
  side->send(sealed(1, "before"), {});
  side->bind(key->rkey);
  side->write(transfer(0, {}));
  side->send(sealed(2, "after"), {});
  center_->run_until_idle();
  std::vector<ibv_wr_opcode> order;
  for (const auto& request : qp_.requests) order.push_back(request.opcode);
  EXPECT_EQ(order, (std::vector<ibv_wr_opcode>{IBV_WR_SEND, IBV_WR_BIND_MW, IBV_WR_RDMA_WRITE,
                                               IBV_WR_SEND}));
}

TEST_F(SendSideTest, AKeyIsInvalidatedAheadOfWhatIsQueued) {
  const auto side = make_send_side(PostChain::kMaxInline);
  ibv_mr mr{};
  const auto key = keys_.expose(remote_, {1, 2, &mr}, RemoteAccess::kRead);
  side->bind(key->rkey);
  center_->run_until_idle();
  SentCounter revoked;
  ASSERT_TRUE(keys_.begin_revoke(key->rkey, revoked.add()));
  side->send(sealed(1, "frame"), {});
  side->invalidate(key->rkey);
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 3u);
  EXPECT_EQ(qp_.requests[1].opcode, IBV_WR_LOCAL_INV);
  EXPECT_EQ(qp_.requests[1].invalidate_rkey, key->rkey);
  EXPECT_TRUE(qp_.requests[1].is_signalled);
  complete(*side, qp_.requests[1].seq());
  center_->run_until_idle();
  EXPECT_EQ(revoked.total(), 1u);
}

TEST_F(SendSideTest, CreditsThatNothingTakesAlongTravelAlone) {
  const auto side = make_send_side(PostChain::kMaxInline);
  for (int i = 0; i < kCredits / 2; ++i) {
    ASSERT_TRUE(core_->credits.receive.on_frames());
    core_->credits.receive.on_reposted();
  }
  side->schedule_flush();
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 1u);
  EXPECT_EQ(qp_.requests[0].segment().type, SegmentType::kCredits);
  EXPECT_EQ(qp_.requests[0].segment().granted, kCredits / 2);
  EXPECT_EQ(core_->credits.send.in_hand(), kCredits) << "it costs none";
}

TEST_F(SendSideTest, AnIdleLinkGivesBackWhatItDoesNotNeed) {
  const auto side = make_send_side(PostChain::kMaxInline);
  EXPECT_FALSE(side->give_back_if_idle()) << "no more than at the start";
  ASSERT_TRUE(core_->credits.send.gain(5));
  side->send(sealed(1, "busy"), {});
  center_->run_until_idle();
  EXPECT_TRUE(side->give_back_if_idle());
  center_->run_until_idle();
  EXPECT_EQ(qp_.requests.size(), 1u) << "it has sent since the last look";
  EXPECT_TRUE(side->give_back_if_idle());
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 2u);
  EXPECT_EQ(qp_.requests[1].segment().returned, 4);
  EXPECT_EQ(core_->credits.send.in_hand(), kCredits);
}

TEST_F(SendSideTest, StoppedItPostsTheFarewellAndNothingElse) {
  const auto side = make_send_side(PostChain::kMaxInline);
  SentCounter sent;
  side->send(sealed(1, "too late"), sent.add());
  side->stop();
  EXPECT_EQ(side->queued_bytes(), 0u);
  EXPECT_TRUE(side->post_farewell());
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 1u);
  EXPECT_EQ(qp_.requests[0].segment().type, SegmentType::kBye);
  EXPECT_TRUE(complete(*side, qp_.requests[0].seq()));
  std::vector<IoDone> unfinished;
  side->take_unfinished(unfinished);
  EXPECT_EQ(unfinished.size(), 1u);
  EXPECT_EQ(sent.total(), 0u);
}

TEST_F(SendSideTest, AFullSendQueueWaitsForACompletion) {
  const auto side = make_send_side(PostChain::kMaxInline, 12);  // 8 are for control
  for (int i = 0; i < 6; ++i) side->write(transfer(1, {}));
  center_->run_until_idle();
  ASSERT_EQ(qp_.requests.size(), 4u);
  EXPECT_EQ(of_qp_.value(Count::kQueueStalls), 1u);
  complete(*side, qp_.requests[1].seq());
  center_->run_until_idle();
  EXPECT_EQ(qp_.requests.size(), 6u);
}

}  // namespace
}  // namespace lunar::msgr::rdma
