// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/queue/credits.h"

#include <gtest/gtest.h>

#include <deque>
#include <random>

#include "msgr/rdma/queue/ledger.h"

namespace lunar::msgr::rdma {
namespace {

TEST(CreditPoolTest, NewLinksComeBeforeLending) {
  CreditPool pool;
  pool.add(100);
  EXPECT_EQ(pool.lend(1000), 75u) << "a quarter stays";
  EXPECT_EQ(pool.lend(1), 0u);
  EXPECT_TRUE(pool.is_low());
  EXPECT_TRUE(pool.reserve(25));
  EXPECT_FALSE(pool.reserve(1));
  pool.give_back(1);
  EXPECT_TRUE(pool.reserve(1));
  pool.give_back(100);
  EXPECT_EQ(pool.free(), pool.total());
  EXPECT_FALSE(pool.is_low());
}

TEST(SendCreditsTest, TheBaseIsNeverGivenBack) {
  SendCredits credits(4);
  EXPECT_EQ(credits.surplus(0), 0);
  EXPECT_TRUE(credits.gain(10));
  EXPECT_EQ(credits.surplus(0), 10);
  EXPECT_EQ(credits.surplus(9), 5) << "nor what is needed";
  credits.give_back(10);
  for (int i = 0; i < 4; ++i) credits.spend();
  EXPECT_EQ(credits.in_hand(), 0u);
  EXPECT_EQ(credits.surplus(0), 0);
}

TEST(SendCreditsTest, MoreThanAPeerCanMeanIsRefused) {
  SendCredits credits(1);
  EXPECT_TRUE(credits.gain(65534));
  EXPECT_FALSE(credits.gain(1));
  EXPECT_EQ(credits.in_hand(), 65535u);
}

TEST(ReceiveCreditsTest, WhatIsUsedIsGrantedAgainByHalves) {
  ReceiveCredits credits(4, 4);
  EXPECT_TRUE(credits.on_frames());
  credits.on_reposted();
  EXPECT_FALSE(credits.is_urgent());
  EXPECT_TRUE(credits.has_grant());
  EXPECT_TRUE(credits.on_frames());
  credits.on_reposted();
  EXPECT_TRUE(credits.is_urgent());
  EXPECT_EQ(credits.take_grant(), 2);
  EXPECT_FALSE(credits.has_grant());
  EXPECT_EQ(credits.outstanding(), 4u);
  EXPECT_EQ(credits.window(), 4u);
}

TEST(ReceiveCreditsTest, APeerThatOverdrawsIsFound) {
  ReceiveCredits credits(2, 8);
  EXPECT_TRUE(credits.on_frames());
  EXPECT_TRUE(credits.on_frames());
  EXPECT_FALSE(credits.on_frames());
  EXPECT_FALSE(credits.on_returned(1)) << "it has none";
}

TEST(ReceiveCreditsTest, TheBaseCannotBeReturned) {
  ReceiveCredits credits(4, 16);
  EXPECT_FALSE(credits.on_returned(1));
  for (int i = 0; i < 2; ++i) credits.on_frames();
  credits.lend(credits.wants_to_lend());
  for (int i = 0; i < 2; ++i) credits.on_reposted();
  EXPECT_EQ(credits.take_grant(), 6);
  EXPECT_EQ(credits.window(), 8u);
  EXPECT_FALSE(credits.on_returned(5));
  EXPECT_TRUE(credits.on_returned(4));
  EXPECT_EQ(credits.window(), 4u);
}

TEST(ReceiveCreditsTest, AWindowGrowsWithUseUpToItsLimit) {
  ReceiveCredits credits(4, 20);
  EXPECT_EQ(credits.wants_to_lend(), 0u) << "nothing is used";
  for (int round = 0; round < 10; ++round) {
    const uint32_t used = credits.outstanding();
    for (uint32_t i = 0; i < used; ++i) {
      EXPECT_TRUE(credits.on_frames());
      credits.lend(credits.wants_to_lend());
    }
    for (uint32_t i = 0; i < used; ++i) credits.on_reposted();
    credits.take_grant();
    EXPECT_LE(credits.window(), 20u);
  }
  EXPECT_EQ(credits.outstanding(), 20u);
}

TEST(CreditTokenTest, OneIsOutAtATime) {
  CreditToken token;
  EXPECT_FALSE(token.on_acknowledged()) << "nothing is out";
  EXPECT_TRUE(token.is_here());
  token.sent();
  EXPECT_FALSE(token.is_here());
  EXPECT_TRUE(token.on_acknowledged());
  EXPECT_FALSE(token.on_acknowledged());
  EXPECT_TRUE(token.on_received());
  EXPECT_FALSE(token.on_received()) << "not before it is acknowledged";
  EXPECT_TRUE(token.take_owed());
  EXPECT_FALSE(token.take_owed());
  EXPECT_TRUE(token.on_received());
}

TEST(CreditLedgerTest, NothingComesAfterTheFarewell) {
  CreditLedger ledger{SendCredits(4), ReceiveCredits(4, 4), {}};
  Segment segment;
  EXPECT_TRUE(ledger.take(segment));
  segment.type = SegmentType::kBye;
  EXPECT_TRUE(ledger.take(segment));
  EXPECT_FALSE(ledger.take(segment));
  segment.type = SegmentType::kFrames;
  EXPECT_FALSE(ledger.take(segment));
}

TEST(ReadCreditsTest, AreTakenUntilNoneIsLeft) {
  ReadCredits credits(2);
  EXPECT_TRUE(credits.take());
  EXPECT_TRUE(credits.take());
  EXPECT_FALSE(credits.take());
  credits.put();
  EXPECT_TRUE(credits.take());
}

// Two ends that follow rdma_link's rules, over two queues that deliver one segment at a time in a
// random order of directions. Whatever the order, all frames arrive, and no segment meets an end
// without a buffer for it.
struct End {
  struct Sent {
    bool is_frames = false, is_news = false, acknowledges = false;
    uint16_t granted = 0, returned = 0;
  };
  explicit End(uint32_t base, uint32_t most) : send(base), receive(base, most) {}

  Sent outgoing() {
    Sent out;
    out.granted = receive.take_grant();
    if (give_back && queued == 0) {
      out.returned = send.surplus(0);
      send.give_back(out.returned);
      give_back = false;
    }
    out.acknowledges = token.take_owed();
    return out;
  }
  void flush() {
    while (queued > 0 && send.in_hand() > 0) {
      send.spend();
      --queued;
      Sent out = outgoing();
      out.is_frames = true;
      wire.push_back(out);
    }
    const bool is_stalled = queued > 0;
    const bool has_news = receive.is_urgent() || (give_back && !is_stalled && send.surplus(0) > 0);
    if (has_news && token.is_here()) {
      Sent out = outgoing();
      out.is_news = true;
      token.sent();
      wire.push_back(out);
    } else if (is_stalled && token.is_owed()) {
      wire.push_back(outgoing());
    }
  }
  void deliver(const Sent& in) {
    if (in.is_frames) {
      ASSERT_TRUE(receive.on_frames());
      ++arrived;
      ++held;
      receive.lend(receive.wants_to_lend());
    }
    ASSERT_TRUE(!in.is_news || token.on_received());
    ASSERT_TRUE(!in.acknowledges || token.on_acknowledged());
    ASSERT_TRUE(receive.on_returned(in.returned));
    ASSERT_TRUE(send.gain(in.granted));
  }
  void process() {
    for (; held > 0; --held) receive.on_reposted();
  }

  SendCredits send;
  ReceiveCredits receive;
  CreditToken token;
  std::deque<Sent> wire;  // on its way to the other end
  uint64_t queued = 0, arrived = 0, held = 0;
  bool give_back = false;
};

TEST(CreditsTest, NoOrderOfEventsStopsTwoEnds) {
  for (unsigned seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const uint32_t base = 2 + seed % 4, most = base + seed % 17;
    End ends[2] = {End(base, most), End(base, most)};
    uint64_t wanted[2] = {0, 0};
    const auto step = [&](bool may_add) {
      End& end = ends[random() % 2];
      End& other = &end == &ends[0] ? ends[1] : ends[0];
      switch (random() % 6) {
        case 0:
          if (may_add) {
            const uint64_t count = random() % 9;
            end.queued += count;
            wanted[&other - ends] += count;
          }
          break;
        case 1:
          end.process();
          break;
        case 2:
          if (random() % 8 == 0) end.give_back = true;
          break;
        case 3:
          end.flush();
          break;
        default:
          if (!other.wire.empty()) {
            const End::Sent in = other.wire.front();
            other.wire.pop_front();
            end.deliver(in);
          }
      }
    };
    for (int i = 0; i < 2000; ++i) step(true);
    for (int i = 0; i < 20000; ++i) step(false);
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(ends[i].arrived, wanted[i]);
      EXPECT_EQ(ends[i].queued, 0u);
    }
  }
}

}  // namespace
}  // namespace lunar::msgr::rdma
