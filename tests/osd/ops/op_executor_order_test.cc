// SPDX-License-Identifier: LGPL-2.1-or-later
// Order, atomicity and back-pressure of the executor.
#include "osd/ops/op_executor.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using OpExecutorOrderTest = ExecutorFixture;
using Call = FaultyStore::Call;

TEST_F(OpExecutorOrderTest, OpsOnOneObjectEndInTheOrderTheyCame) {
  store->hold(Call::kWrite);
  executor->submit(Vector("a").write(0, "1").tid(1).op());
  executor->submit(Vector("a").write(0, "2").tid(2).op());
  executor->submit(Vector("a").read(0, 1).tid(3).op());
  turn();
  EXPECT_EQ(store->held(Call::kWrite), 1u) << "the second waits for the first";
  EXPECT_TRUE(order.empty());
  store->release(Call::kWrite);
  turn();
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1, 2, 3}));
  EXPECT_EQ(text_of(*results.at(3)), "2");
}

TEST_F(OpExecutorOrderTest, ObjectsDoNotWaitForEachOther) {
  store->hold(Call::kWrite);
  executor->submit(Vector("a").write(0, "1").tid(1).op());
  executor->submit(Vector("b").read(0, 1).tid(2).op());
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{2}));
  store->release(Call::kWrite);
}

TEST_F(OpExecutorOrderTest, NeighbouringReadsRunTogetherAndAWriteByItself) {
  store->hold(Call::kRead);
  executor->submit(Vector("a").read(0, 1).tid(1).op());
  executor->submit(Vector("a").read(0, 1).tid(2).op());
  executor->submit(Vector("a").write(0, "w").tid(3).op());
  executor->submit(Vector("a").read(0, 1).tid(4).op());
  turn();
  EXPECT_EQ(store->held(Call::kRead), 2u);
  EXPECT_EQ(store->calls(Call::kWrite), 0u);
  store->release(Call::kRead);
  turn();
  EXPECT_EQ(store->calls(Call::kWrite), 1u);
  store->release(Call::kRead);
  turn();
  EXPECT_EQ(order.back(), 4u);
  EXPECT_EQ(text_of(*results.at(4)), "w");
}

TEST_F(OpExecutorOrderTest, NothingComesBetweenCompareAndWrite) {
  run(Vector("a").write(0, "0"));
  store->hold(Call::kRead);
  executor->submit(Vector("a").compare(0, "0").write(0, "1").tid(1).op());
  executor->submit(Vector("a").compare(0, "0").write(0, "2").tid(2).op());
  turn();
  store->release(Call::kRead);
  turn();
  store->release(Call::kRead);
  turn();
  EXPECT_EQ(results.at(1)->header.error, OsdErrc::kOk);
  EXPECT_EQ(results.at(2)->header.error, OsdErrc::kMiscompare);
}

TEST_F(OpExecutorOrderTest, ConcurrentOrWritesLoseNoBit) {
  store->hold(Call::kRead);
  for (int bit = 0; bit < 8; ++bit) {
    const char mask = static_cast<char>(1 << bit);
    executor->submit(Vector("a").add(OpCode::kOrWrite, 0, 1, std::string(1, mask)).op());
  }
  for (int i = 0; i < 8; ++i) {
    turn();
    store->release(Call::kRead);
  }
  turn();
  store->release(Call::kRead);
  turn();
  EXPECT_EQ(order.size(), 8u);
  executor->submit(Vector("a").read(0, 1).tid(1).op());
  turn();
  store->release(Call::kRead);
  turn();
  EXPECT_EQ(text_of(*results.at(1)), "\xff");
}

TEST_F(OpExecutorOrderTest, CancelTakesOutWhatHasNotBegun) {
  store->hold(Call::kWrite);
  const ClientOpRef first = Vector("a").write(0, "1").tid(1).op();
  const ClientOpRef second = Vector("a").write(0, "2").tid(2).op();
  executor->submit(first);
  executor->submit(second);
  turn();
  EXPECT_TRUE(executor->cancel({first}).empty());
  EXPECT_EQ(executor->cancel({second}), (std::vector{second}));
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1}));
  EXPECT_TRUE(executor->is_idle());
}

TEST_F(OpExecutorOrderTest, QueuesGoWhenIdle) {
  for (int i = 0; i < 100; ++i) run(Vector("obj" + std::to_string(i)).write(0, "x"));
  EXPECT_TRUE(executor->is_idle());
}

TEST_F(OpExecutorOrderTest, AReadWaitsForABufferAndThenRuns) {
  std::vector<msgr::RegisteredBuffer> taken;
  for (;;) {
    auto buffer = pool->allocate(16u << 20);
    if (!buffer) break;
    taken.push_back(std::move(buffer));
  }
  executor->submit(Vector("a").read(0, 4096).tid(1).op());
  turn();
  EXPECT_TRUE(order.empty());
  taken.clear();
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1}));
}

TEST_F(OpExecutorOrderTest, AReadOfTheWholeObjectWaitsForABufferToo) {
  run(Vector("a").write(0, "whole"));
  order.clear();
  msgr::RegisteredBuffer all = pool->allocate(64u << 20);
  executor->submit(Vector("a").read(0, 0).tid(1).op());
  turn();
  EXPECT_TRUE(order.empty());
  all = {};
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1}));
  EXPECT_EQ(text_of(*results.at(1)), "whole");
}

TEST_F(OpExecutorOrderTest, ALargeOpThatWaitsForBuffersIsNotPassedBySmallOnes) {
  msgr::RegisteredBuffer most = pool->allocate((64u << 20) - 8192);
  executor->submit(Vector("a").read(0, 16u << 20).tid(1).op());
  executor->submit(Vector("b").read(0, 4096).tid(2).op());
  executor->submit(Vector("c").write(0, "x").tid(3).op());
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{3})) << "it needs no buffer";
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{3})) << "the first still has too few";
  most = {};
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{3, 1, 2}));
}

TEST_F(OpExecutorOrderTest, ReadsOfOneObjectTakeTurnsWithThoseOfOthers) {
  msgr::RegisteredBuffer most = pool->allocate((64u << 20) - 8192);
  executor->submit(Vector("a").read(0, 16u << 20).tid(1).op());
  executor->submit(Vector("a").read(0, 4096).tid(2).op());
  executor->submit(Vector("b").read(0, 40u << 20).tid(3).op());
  most = {};
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1, 3, 2}));
}

TEST_F(OpExecutorOrderTest, AnOpThatWaitsTooLongForBuffersIsToldToComeAgain) {
  msgr::RegisteredBuffer most = pool->allocate((64u << 20) - 8192);
  const ClientOpRef large = Vector("a").read(0, 16u << 20).tid(1).op();
  executor->submit(large);
  executor->submit(Vector("b").read(0, 4096).tid(2).op());
  turn();
  EXPECT_TRUE(order.empty());
  large->waiting_since -= limits.max_buffer_wait;
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1, 2}));
  EXPECT_EQ(results.at(1)->header.error, OsdErrc::kRetryInline);
  EXPECT_EQ(results.at(2)->header.error, OsdErrc::kOk) << "nothing is in front of it any more";
  EXPECT_TRUE(executor->is_idle());
}

TEST_F(OpExecutorOrderTest, TheWaitBehindOthersCounts) {
  msgr::RegisteredBuffer all = pool->allocate(64u << 20);
  const ClientOpRef first = Vector("a").read(0, 4096).tid(1).op();
  const ClientOpRef second = Vector("b").read(0, 4096).tid(2).op();
  executor->submit(first);
  executor->submit(second);
  turn();
  const std::chrono::steady_clock::time_point never;
  EXPECT_NE(second->waiting_since, never);
  first->waiting_since -= limits.max_buffer_wait;
  second->waiting_since -= limits.max_buffer_wait;
  executor->buffers_freed();
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1, 2}));
}

TEST_F(OpExecutorOrderTest, DrainEndsWhenTheLastOpIsCancelled) {
  msgr::RegisteredBuffer all = pool->allocate(64u << 20);
  const ClientOpRef op = Vector("a").read(0, 4096).op();
  executor->submit(op);
  turn();
  bool drained = false;
  executor->drain([&] { drained = true; });
  turn();
  EXPECT_FALSE(drained) << "it waits for a buffer";
  EXPECT_EQ(executor->cancel({op}), (std::vector{op}));
  EXPECT_FALSE(drained) << "later, and not inside the call";
  turn();
  EXPECT_TRUE(drained);
}

TEST_F(OpExecutorOrderTest, DrainWaitsForTheLastOp) {
  store->hold(Call::kWrite);
  executor->submit(Vector("a").write(0, "1").op());
  bool drained = false;
  executor->drain([&] { drained = true; });
  turn();
  EXPECT_FALSE(drained);
  store->release(Call::kWrite);
  turn();
  EXPECT_TRUE(drained);
}

}  // namespace
}  // namespace lunar::osd
