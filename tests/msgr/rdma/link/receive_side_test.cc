// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/receive_side.h"

#include <cstring>

#include "tests/msgr/rdma/link/link_core_fixture.h"

namespace lunar::msgr::rdma {
namespace {

class ReceiveSideTest : public LinkCoreTest {
 protected:
  ReceiveSideTest() : sending_(make_send_side(PostChain::kMaxInline)) {
    make(nullptr);
    side_->set_handler(&peer_);
  }
  void make(CreditPool* pool) {
    core_->pool = pool;
    side_ = std::make_unique<ReceiveSide>(
        *core_, *sending_,
        ReceiveSide::ReceiveResources{*staging_, idle_watch_, [this] { ++times_wanted_; }});
  }
  // Puts a segment with one frame into a receive buffer, as a device does.
  void receive(uint32_t buffer, std::string_view front) {
    PackLimits limits;
    limits.segment_bytes = kSegmentBytes;
    const Bytes memory = receives_.buffer(buffer);
    SegmentBuilder builder(limits, memory, 0, nullptr);
    builder.add(sealed(1, front), 0);
    builder.finish(Segment());
    const std::size_t bytes = sizeof(SegmentHeader) + builder.payload_bytes();
    side_->on_segment(buffer, static_cast<uint32_t>(bytes), 1);
  }
  void receive_control(uint32_t buffer, const Segment& segment) {
    const SegmentHeader header = encode_header(segment);
    std::memcpy(receives_.buffer(buffer).data(), &header, sizeof header);
    side_->on_segment(buffer, sizeof header, 1);
  }
  // Buffers that went back to the device since the last call.
  std::vector<uint32_t> reposted() {
    qp_.receives.clear();
    EXPECT_FALSE(receives_.flush());
    return qp_.receives;
  }

  std::unique_ptr<BufferPool> staging_ = make_heap_buffer_pool(1 << 20, 1 << 20);
  int times_looked_ = 0;
  IdleWatch idle_watch_{*center_, [this] { ++times_looked_; }};
  int times_wanted_ = 0;
  std::unique_ptr<SendSide> sending_;
  TestPeer peer_;
  std::unique_ptr<ReceiveSide> side_;
};

TEST_F(ReceiveSideTest, AFrameIsDeliveredAndItsBufferReposted) {
  receive(3, "hello");
  ASSERT_EQ(peer_.frames.size(), 1u);
  EXPECT_EQ(as_text(peer_.frames[0].front), "hello");
  EXPECT_EQ(reposted(), std::vector<uint32_t>{3});
  EXPECT_EQ(core_->credits.receive.outstanding(), kCredits - 1u);
  EXPECT_TRUE(core_->credits.receive.has_grant());
}

TEST_F(ReceiveSideTest, PausedItHoldsBuffersAndTheirCreditsInOrder) {
  side_->pause();
  receive(0, "first");
  receive(1, "second");
  EXPECT_EQ(peer_.frames.size(), 0u);
  EXPECT_TRUE(reposted().empty());
  EXPECT_FALSE(core_->credits.receive.has_grant());
  side_->resume();
  EXPECT_EQ(peer_.frames.size(), 0u) << "not in the call";
  center_->run_until_idle();
  ASSERT_EQ(peer_.frames.size(), 2u);
  EXPECT_EQ(as_text(peer_.frames[0].front), "first");
  EXPECT_EQ(reposted(), (std::vector<uint32_t>{0, 1}));
}

TEST_F(ReceiveSideTest, AHandlerThatPausesGetsTheRestLater) {
  peer_.also_on_frame = [this](ReceivedFrame&) { side_->pause(); };
  receive(0, "first");
  receive(1, "second");
  EXPECT_EQ(peer_.frames.size(), 1u);
  side_->resume();
  center_->run_until_idle();
  EXPECT_EQ(peer_.frames.size(), 2u);
}

TEST_F(ReceiveSideTest, CreditsCountWhilePaused) {
  side_->pause();
  Segment credits;
  credits.type = SegmentType::kCredits;
  credits.granted = 4;
  receive_control(0, credits);
  EXPECT_EQ(core_->credits.send.in_hand(), kCredits + 4u);
  EXPECT_EQ(reposted(), std::vector<uint32_t>{0});
}

TEST_F(ReceiveSideTest, WhatIsNoSegmentFailsTheLinkAndReleasesTheBuffer) {
  Segment credits;
  credits.type = SegmentType::kCredits;
  receive_control(0, credits);
  receive_control(1, credits);  // the peer's token is not back
  EXPECT_EQ(failure_, make_error_code(MsgrErrc::kBadFrame));
  EXPECT_FALSE(has_qp_failed_);
  EXPECT_EQ(reposted(), (std::vector<uint32_t>{0, 1}));
}

TEST_F(ReceiveSideTest, ABufferOrALengthThatCannotBeFailsTheLink) {
  side_->on_segment(1000, 8, 1);
  EXPECT_EQ(failure_, make_error_code(MsgrErrc::kBadFrame));
  failure_.reset();
  side_->on_segment(0, kSegmentBytes + 1, 1);
  EXPECT_EQ(failure_, make_error_code(MsgrErrc::kBadFrame));
  EXPECT_EQ(reposted(), std::vector<uint32_t>{0});
}

TEST_F(ReceiveSideTest, TheFarewellIsHeardAfterTheFramesBeforeIt) {
  side_->pause();
  receive(0, "last words");
  Segment farewell;
  farewell.type = SegmentType::kBye;
  receive_control(1, farewell);
  EXPECT_FALSE(has_peer_left_);
  side_->resume();
  center_->run_until_idle();
  EXPECT_EQ(peer_.frames.size(), 1u);
  EXPECT_TRUE(has_peer_left_);
}

TEST_F(ReceiveSideTest, StoppedItReleasesEverythingAndDeliversNothing) {
  side_->pause();
  receive(0, "held");
  side_->stop();
  EXPECT_EQ(reposted(), std::vector<uint32_t>{0});
  receive(1, "late");
  side_->resume();
  center_->run_until_idle();
  EXPECT_EQ(reposted(), std::vector<uint32_t>{1});
  EXPECT_EQ(peer_.frames.size(), 0u);
}

TEST_F(ReceiveSideTest, AHandlerMayDestroyTheLink) {
  peer_.also_on_frame = [this](ReceivedFrame&) {
    *core_->alive = false;
    side_.reset();
  };
  receive(0, "the end");
  EXPECT_EQ(side_, nullptr);
}

TEST_F(ReceiveSideTest, APeerThatUsesItsCreditsIsLentMoreAsLongAsThePoolHasSome) {
  CreditPool pool;
  pool.add(16);
  make(&pool);
  side_->set_handler(&peer_);
  for (uint32_t i = 0; i < 3; ++i) receive(i, "frame");
  EXPECT_EQ(core_->credits.receive.window(), 8u) << "more than half of them lie idle";
  receive(3, "frame");
  EXPECT_EQ(core_->credits.receive.window(), 16u);
  EXPECT_EQ(pool.free(), 8u);
  EXPECT_EQ(times_wanted_, 0);
  receive(4, "frame");
  EXPECT_EQ(core_->credits.receive.window(), 20u) << "a quarter of the pool is kept";
  EXPECT_EQ(times_wanted_, 1);
}

TEST_F(ReceiveSideTest, CreditsThatMayNotBeNeededAreWatched) {
  Segment credits;
  credits.type = SegmentType::kCredits;
  credits.granted = 1;
  receive_control(0, credits);
  EXPECT_TRUE(core_->credits.send.surplus(0) > 0);
  EXPECT_EQ(times_looked_, 0);
  idle_watch_.stop();
}

}  // namespace
}  // namespace lunar::msgr::rdma
