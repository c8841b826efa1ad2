// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The small parts of a QP's accounting: names of work requests, slots, fragments, states.

#include <gtest/gtest.h>

#include "msgr/rdma/queue/fragment_cutter.h"
#include "msgr/rdma/queue/qp_state.h"
#include "msgr/rdma/queue/send_slots.h"
#include "msgr/rdma/queue/window.h"
#include "msgr/rdma/queue/wr_id.h"

namespace lunar::msgr::rdma {
namespace {

TEST(WrIdTest, SaysWhatItWasMadeOf) {
  const LinkSlot link{LinkSlot::kMaxIndex, LinkSlot::kGenerations - 1};
  const WrId send(WrId::send(link, 0xfffffffe).value());
  EXPECT_EQ(send.kind(), WrKind::kSend);
  EXPECT_EQ(send.link(), link);
  EXPECT_EQ(send.detail(), 0xfffffffeu);
  const WrId receive(WrId::receive(1234).value());
  EXPECT_EQ(receive.kind(), WrKind::kReceive);
  EXPECT_EQ(receive.detail(), 1234u);
  EXPECT_EQ(WrId(WrId::beacon({7, 8}).value()).kind(), WrKind::kBeacon);
  EXPECT_EQ(WrId(WrId::beacon({7, 8}).value()).link(), (LinkSlot{7, 8}));
  EXPECT_NE(WrId::send({1, 2}, 3).value(), WrId::send({1, 3}, 3).value());
}

TEST(WindowTest, AKeyIsNotGivenOutAgainAlthoughItWasNotBound) {
  ibv_mw mw{};
  mw.rkey = 0x1234fe;
  Window window{&mw, mw.rkey};
  EXPECT_EQ(window.next_key(), 0x1234ffu);
  EXPECT_EQ(window.next_key(), 0x123400u);
  mw.rkey = window.key;  // bound
  for (uint32_t i = 1; i < 256; ++i) EXPECT_EQ(window.next_key(), 0x123400u + i);
  EXPECT_EQ(window.next_key(), 0x123401u) << "not the one that is bound";
}

TEST(SendSlotsTest, ACompletionRetiresAllBeforeIt) {
  SendSlots slots(16, 4);
  EXPECT_EQ(slots.free(), 12u);
  for (uint32_t i = 0; i < 5; ++i) EXPECT_EQ(slots.post(false), i);
  EXPECT_EQ(slots.free(), 7u);
  EXPECT_EQ(slots.retire(3), 4u);
  EXPECT_EQ(slots.retire(3), 0u) << "again";
  EXPECT_EQ(slots.retire(5), 0u) << "not posted";
  EXPECT_EQ(slots.in_flight(), 1u);
  EXPECT_EQ(slots.retire(4), 1u);
  EXPECT_EQ(slots.in_flight(), 0u);
}

TEST(SendSlotsTest, NeverAFullQueueWithoutASignal) {
  SendSlots slots(16, 4);
  uint32_t signals = 0;
  while (slots.free() > 0) {
    const bool must = slots.must_signal();
    signals += must ? 1 : 0;
    slots.post(must);
  }
  EXPECT_EQ(signals, 3u);
  EXPECT_TRUE(slots.has_control_slot());
  for (int i = 0; i < 3; ++i) slots.post(true);
  EXPECT_FALSE(slots.has_control_slot()) << "the last slot is the beacon's";
}

TEST(SendSlotsTest, NumbersWrapAround) {
  SendSlots slots(8, 0);
  // 2^32 posts take too long; unpost() reaches the same numbers.
  slots.unpost(3);
  for (uint32_t i = 0; i < 3; ++i) slots.post(false);
  SendSlots fresh(8, 0);
  for (uint32_t i = 0; i < 8; ++i) fresh.post(false);
  EXPECT_EQ(fresh.free(), 0u);
  EXPECT_EQ(fresh.retire(UINT32_MAX), 0u);
  EXPECT_EQ(fresh.retire(7), 8u);
}

TEST(SendSlotsTest, WhatWasNotTakenIsNotInFlight) {
  SendSlots slots(8, 0);
  for (uint32_t i = 0; i < 5; ++i) slots.post(true);
  slots.unpost(2);
  EXPECT_EQ(slots.in_flight(), 3u);
  EXPECT_EQ(slots.next(), 3u);
  EXPECT_EQ(slots.retire(4), 0u);
}

std::vector<FragmentRange> cut(uint64_t addr, uint32_t length, uint32_t fragment_bytes) {
  std::vector<FragmentRange> out;
  for (FragmentCutter rest(addr, length, fragment_bytes); !rest.is_done(); rest.pop()) {
    out.push_back(rest.peek());
  }
  return out;
}

TEST(FragmentCutterTest, CoverTheRangeInOrder) {
  for (const uint32_t length : {1u, 511u, 512u, 513u, 1024u, 5000u, UINT32_MAX}) {
    SCOPED_TRACE(length);
    const uint32_t size = length == UINT32_MAX ? 1u << 30 : 512;
    uint64_t at = 0;
    const auto fragments = cut(1000, length, size);
    EXPECT_EQ(fragments.size(), (uint64_t{length} + size - 1) / size);
    for (const FragmentRange& fragment : fragments) {
      EXPECT_EQ(fragment.remote_addr, 1000 + at);
      EXPECT_EQ(fragment.local_offset, at);
      EXPECT_GT(fragment.length, 0u);
      EXPECT_LE(fragment.length, size);
      at += fragment.length;
      EXPECT_EQ(fragment.is_last, at == length);
    }
    EXPECT_EQ(at, length);
  }
}

TEST(FragmentCutterTest, NothingIsOneEmptyFragment) {
  const auto fragments = cut(1000, 0, 512);
  ASSERT_EQ(fragments.size(), 1u);
  EXPECT_EQ(fragments[0].length, 0u);
  EXPECT_TRUE(fragments[0].is_last);
}

constexpr QpState kStates[] = {QpState::kReset,       QpState::kInit,    QpState::kReadyToReceive,
                               QpState::kReadyToSend, QpState::kLeaving, QpState::kStopping,
                               QpState::kDraining,    QpState::kDrained, QpState::kDestroyed};

TEST(QpStateTest, OnlyForwardAndNeverTwice) {
  for (const QpState from : kStates) {
    for (const QpState to : kStates) {
      EXPECT_FALSE(to <= from && may_follow(from, to)) << to_string(from) << to_string(to);
    }
  }
}

TEST(QpStateTest, AnyStateButTheLastCanEnd) {
  for (const QpState from : kStates) {
    EXPECT_EQ(may_follow(from, QpState::kDestroyed), from != QpState::kDestroyed);
  }
}

TEST(QpStateTest, AWholeLife) {
  QpLife life;
  for (const QpState state : kStates) {
    if (state == QpState::kReset) continue;
    EXPECT_FALSE(life.is_over());
    life.enter(state);
    EXPECT_EQ(life.is_open(), state == QpState::kReadyToSend);
  }
  EXPECT_TRUE(life.is_over());
}

TEST(QpStateTest, ADrainThatIsGivenUpOrNeverBegan) {
  EXPECT_TRUE(may_follow(QpState::kStopping, QpState::kDrained));
  EXPECT_TRUE(may_follow(QpState::kReadyToSend, QpState::kStopping));
  EXPECT_FALSE(may_follow(QpState::kReadyToSend, QpState::kDrained));
}

}  // namespace
}  // namespace lunar::msgr::rdma
