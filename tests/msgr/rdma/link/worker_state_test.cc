// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What the links of a worker share, each by itself.

#include <gtest/gtest.h>

#include <vector>

#include "msgr/rdma/link/bounce_buffers.h"
#include "msgr/rdma/link/early_receives.h"
#include "msgr/rdma/link/idle_watch.h"
#include "msgr/rdma/link/link_table.h"
#include "msgr/rdma/link/window_stock.h"
#include "tests/support/manual_clock.h"

namespace lunar::msgr::rdma {
namespace {

using namespace std::chrono_literals;

// LinkTable only keeps addresses.
struct NotALink {
  RdmaLink& operator*() { return reinterpret_cast<RdmaLink&>(byte); }
  RdmaLink* operator&() { return reinterpret_cast<RdmaLink*>(&byte); }  // NOLINT
  char byte = 0;
};

TEST(LinkTableTest, ALinkIsFoundBySlotAndByQp) {
  LinkTable table;
  NotALink one, two;
  const auto slot = table.add(*one, 17);
  const auto other = table.add(*two, 18);
  ASSERT_TRUE(slot && other);
  EXPECT_EQ(table.find(*slot), &one);
  EXPECT_EQ(table.find_by_qp(18), &two);
  EXPECT_EQ(table.find_by_qp(19), nullptr);
  EXPECT_EQ(table.find(LinkSlot{100, 1}), nullptr);
  std::vector<RdmaLink*> all;
  table.for_each([&](RdmaLink& link) { all.push_back(&link); });
  EXPECT_EQ(all, (std::vector<RdmaLink*>{&one, &two}));
}

TEST(LinkTableTest, ASlotThatIsUsedAgainIsAnotherOne) {
  LinkTable table;
  NotALink one, two;
  const LinkSlot before = *table.add(*one, 17);
  table.remove(before, 17);
  EXPECT_TRUE(table.is_empty());
  EXPECT_EQ(table.find(before), nullptr);
  EXPECT_EQ(table.find_by_qp(17), nullptr);
  const LinkSlot after = *table.add(*two, 17);
  EXPECT_EQ(after.index, before.index);
  EXPECT_EQ(table.find(before), nullptr) << "a late completion";
  EXPECT_EQ(table.find(after), &two);
}

TEST(LinkTableTest, ThereAreAsManyAsAWorkRequestCanName) {
  LinkTable table;
  NotALink link;
  for (uint32_t i = 0; i <= LinkSlot::kMaxIndex; ++i) ASSERT_TRUE(table.add(*link, i));
  const auto refused = table.add(*link, LinkSlot::kMaxIndex + 1);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error(), std::errc::no_buffer_space);
}

TEST(LinkTableTest, LinksMayGoWhileAllAreCalled) {
  LinkTable table;
  NotALink one, two;
  const LinkSlot first = *table.add(*one, 1);
  const LinkSlot second = *table.add(*two, 2);
  int calls = 0;
  table.for_each([&](RdmaLink&) {
    if (++calls == 1) {
      table.remove(second, 2);
      table.remove(first, 1);
    }
  });
  EXPECT_EQ(calls, 1);
}

TEST(EarlyReceivesTest, AreTakenByQpInTheirOrder) {
  EarlyReceives early;
  early.expect(7);
  early.hold({7, 1, 10});
  early.hold({8, 2, 20});
  early.hold({7, 3, 30});
  const auto mine = early.take(7);
  ASSERT_EQ(mine.size(), 2u);
  EXPECT_EQ(mine[0].buffer, 1u);
  EXPECT_EQ(mine[1].buffer, 3u);
  EXPECT_EQ(mine[1].length, 30u);
  EXPECT_TRUE(early.take(7).empty());
}

TEST(EarlyReceivesTest, ThoseOfAQpThatIsGoneAreLetGo) {
  EarlyReceives early;
  EXPECT_TRUE(early.take_unexpected().empty());
  early.expect(7);
  early.expect(8);
  early.hold({7, 1, 10});
  early.hold({8, 2, 20});
  EXPECT_TRUE(early.take_unexpected().empty());
  early.forget(7);
  const auto gone = early.take_unexpected();
  ASSERT_EQ(gone.size(), 1u);
  EXPECT_EQ(gone[0].buffer, 1u);
  EXPECT_EQ(early.take(8).size(), 1u);
}

TEST(BounceBuffersTest, AreTakenUntilNoneIsLeft) {
  std::vector<std::byte> memory(3 * 64);
  BounceBuffers bounces(memory, 64, 5, [](LinkSlot) { FAIL(); });
  for (uint32_t i = 0; i < 3; ++i) {
    const auto index = bounces.take();
    ASSERT_TRUE(index);
    EXPECT_EQ(bounces.buffer(*index).data(), memory.data() + *index * 64);
    EXPECT_EQ(bounces.buffer(*index).size(), 64u);
  }
  EXPECT_FALSE(bounces.take());
  bounces.put(1);
  EXPECT_EQ(bounces.take(), 1u);
}

TEST(BounceBuffersTest, WhoWaitsIsWokenOnce) {
  std::vector<std::byte> memory(64);
  std::vector<LinkSlot> woken;
  BounceBuffers bounces(memory, 64, 5, [&](LinkSlot slot) { woken.push_back(slot); });
  ASSERT_TRUE(bounces.take());
  bounces.wait({1, 1});
  bounces.wait({2, 1});
  bounces.put(0);
  EXPECT_EQ(woken, (std::vector<LinkSlot>{{1, 1}, {2, 1}}));
  ASSERT_TRUE(bounces.take());
  bounces.wait({1, 1});
  bounces.forget_waiting();
  bounces.put(0);
  EXPECT_EQ(woken.size(), 2u);
}

class WindowStockTest : public testing::Test {
 protected:
  std::vector<Window> some(std::size_t count) { return std::vector<Window>(count, {&mw_, 1}); }
  const Growth::TimePoint now_{1h};
  ibv_mw mw_{};
  int times_asked_ = 0;
  WindowStock stock_{[this] { ++times_asked_; }};
};

TEST_F(WindowStockTest, NothingIsAskedForBeforeItBegins) {
  EXPECT_FALSE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 0);
}

TEST_F(WindowStockTest, AsksOnceBeforeTheLastIsTaken) {
  stock_.begin(some(WindowStock::kAtOnce / 4 + 1));
  EXPECT_TRUE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 0);
  EXPECT_TRUE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 0);
  EXPECT_TRUE(stock_.take(now_));
  EXPECT_TRUE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 1);
  stock_.add(some(2), now_);
  EXPECT_TRUE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 2);
}

TEST_F(WindowStockTest, ADeviceThatHasNoMoreIsNotAskedForAWhile) {
  stock_.begin({});
  EXPECT_FALSE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 1);
  stock_.add({}, now_);
  EXPECT_FALSE(stock_.take(now_));
  EXPECT_EQ(times_asked_, 1);
  EXPECT_FALSE(stock_.take(now_ + Growth::kPause));
  EXPECT_EQ(times_asked_, 2);
  stock_.forget_asking();
  EXPECT_FALSE(stock_.take(now_ + Growth::kPause));
  EXPECT_EQ(times_asked_, 3);
}

TEST(IdleWatchTest, LooksOnceForEachStart) {
  test::ManualClock time;
  EventCenter::Options options;
  options.time = &time;
  const auto center = std::move(*EventCenter::create(std::move(options)));
  int looks = 0;
  IdleWatch watch(*center, [&] { ++looks; });
  const auto pass = [&] {
    time.advance(IdleWatch::kAfter);
    center->run_until_idle();
  };
  watch.start();
  watch.start();
  EXPECT_EQ(looks, 0);
  pass();
  EXPECT_EQ(looks, 1);
  pass();
  EXPECT_EQ(looks, 1);
  watch.start();
  watch.stop();
  pass();
  EXPECT_EQ(looks, 1);
}

}  // namespace
}  // namespace lunar::msgr::rdma
