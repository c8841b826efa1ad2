// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/bounded_executor.h"

#include <functional>

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Call = FaultyStore::Call;

class BoundedExecutorTest : public ExecutorFixture {
 protected:
  ~BoundedExecutorTest() override {
    store->release(Call::kWrite);
    turn();
  }
  void make(BoundedExecutor::Limits limits) {
    bounded.emplace(OpEnvironment{*center, op_store(), *versions, *ledger, this->limits, one_sided},
                    limits,
                    [this](ClientOpRef op, OpResultRef) { order.push_back(op->header.tid); });
  }
  ClientOpRef submit(Tid tid, std::string object) {
    const ClientOpRef op = Vector(std::move(object)).write(0, "x").tid(tid).op();
    bounded->submit(op);
    turn();
    return op;
  }
  bool has_room(uint64_t session) const {
    ClientOp op;
    op.session = session;
    return bounded->has_room(op);
  }
  ClientOpRef list(Tid tid, const std::string& entity) {
    const ClientOpRef op = Vector("").add(OpCode::kList, 0, 10).tid(tid).op();
    op->client = std::make_shared<const ClientName>(ClientName{entity, "host"});
    op->map = map_of_pool_1();
    bounded->submit(op);
    turn();
    return op;
  }
  static objecter::OsdMapRef map_of_pool_1() {
    auto map = std::make_shared<objecter::OsdMap>();
    map->pools.emplace_back().id = 1;
    map->pools.back().members.push_back({0, 0x10000});
    return map;
  }

  std::optional<BoundedExecutor> bounded;
};

TEST_F(BoundedExecutorTest, OpsAboveTheLimitWaitInTheOrderTheyCame) {
  make({.max_executing = 1, .max_waiting = 2});
  store->hold(Call::kWrite);
  submit(1, "a");
  submit(2, "b");
  submit(3, "c");
  EXPECT_EQ(store->held(Call::kWrite), 1u);
  EXPECT_FALSE(has_room(0));
  for (int i = 0; i < 3; ++i) {
    store->release(Call::kWrite);
    turn();
  }
  EXPECT_EQ(order, (std::vector<Tid>{1, 2, 3}));
  EXPECT_TRUE(has_room(0));
}

TEST_F(BoundedExecutorTest, SessionsTakeTurnsHoweverManyOpsOneHas) {
  make({.max_executing = 1, .max_waiting = 20, .max_waiting_of_one = 6});
  store->hold(Call::kWrite);
  const auto submit_of = [&](uint64_t session, Tid tid) {
    const ClientOpRef op = Vector("o" + std::to_string(tid)).write(0, "x").tid(tid).op();
    op->session = session;
    bounded->submit(op);
    turn();
  };
  for (Tid tid = 1; tid <= 7; ++tid) submit_of(1, tid);
  EXPECT_FALSE(has_room(1)) << "it has six that wait";
  EXPECT_TRUE(has_room(2));
  submit_of(2, 101);
  submit_of(2, 102);
  for (int i = 0; i < 9; ++i) {
    store->release(Call::kWrite);
    turn();
  }
  EXPECT_EQ(order, (std::vector<Tid>{1, 2, 101, 3, 102, 4, 5, 6, 7}));
}

TEST_F(BoundedExecutorTest, AnEntityLeavesRoomForOthersHoweverManySessionsItHas) {
  make({.max_executing = 1, .max_waiting = 20, .max_waiting_of_one = 6});
  store->hold(Call::kWrite);
  Tid tid = 0;
  const auto fill = [&](const std::string& entity) {
    std::vector<ClientOpRef> waiting;
    for (uint64_t session = 1; session <= 10; ++session) {
      for (int i = 0; i < 6; ++i) {
        ++tid;
        const ClientOpRef op = Vector("o" + std::to_string(tid)).write(0, "x").tid(tid).op();
        op->session = 100 * static_cast<uint64_t>(entity.back()) + session;
        op->client = std::make_shared<const ClientName>(ClientName{entity, "host"});
        if (!bounded->has_room(*op)) continue;
        bounded->submit(op);
        waiting.push_back(op);
      }
    }
    return waiting;
  };
  const auto first = fill("client.a");
  EXPECT_EQ(first.size(), 11u) << "one of them executes";
  EXPECT_EQ(fill("client.b").size(), 5u);
  bounded->take_back(first);
  EXPECT_EQ(fill("client.c").size(), 8u) << "as much as there is again";
  store->release(Call::kWrite);
  for (int i = 0; i < 30; ++i) turn();
}

TEST_F(BoundedExecutorTest, AListTakesNoPlaceOfOtherOpsNorWaitsForOne) {
  make({.max_executing = 1, .max_waiting = 2});
  store->hold(Call::kWrite);
  submit(1, "a");
  submit(2, "b");
  list(11, "client.a");
  list(12, "client.b");
  EXPECT_EQ(order, (std::vector<Tid>{11, 12}));
  store->release(Call::kWrite);
  turn();
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{11, 12, 1, 2}));
}

TEST_F(BoundedExecutorTest, AnOpThatComesWhileAnotherEndsDoesNotOvertakeWhatWaits) {
  std::function<void()> on_first_end;
  bounded.emplace(OpEnvironment{*center, op_store(), *versions, *ledger, this->limits, one_sided},
                  BoundedExecutor::Limits{.max_executing = 1, .max_waiting = 2},
                  [&](ClientOpRef op, OpResultRef) {
                    order.push_back(op->header.tid);
                    if (op->header.tid == 1) on_first_end();
                  });
  on_first_end = [&] {
    bounded->submit(Vector("a").write(0, "z").tid(3).op());
    EXPECT_FALSE(has_room(0));
  };
  store->hold(Call::kWrite);
  submit(1, "a");
  submit(2, "b");
  for (int i = 0; i < 3; ++i) {
    store->release(Call::kWrite);
    turn();
  }
  EXPECT_EQ(order, (std::vector<Tid>{1, 2, 3}));
}

TEST_F(BoundedExecutorTest, AnOpThatWaitsIsTakenBackAndOneInsideTheStoreIsNot) {
  make({.max_executing = 1, .max_waiting = 2});
  store->hold(Call::kWrite);
  const ClientOpRef first = submit(1, "a");
  const ClientOpRef second = submit(2, "b");
  EXPECT_TRUE(bounded->take_back({first}).empty());
  EXPECT_EQ(bounded->take_back({second}), (std::vector{second}));
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1}));
}

TEST_F(BoundedExecutorTest, AnOpTakenBackFromAnObjectsQueueMakesRoom) {
  make({.max_executing = 2, .max_waiting = 2});
  store->hold(Call::kWrite);
  submit(1, "a");
  const ClientOpRef behind = submit(2, "a");
  submit(3, "b");
  EXPECT_EQ(store->held(Call::kWrite), 1u);
  EXPECT_EQ(bounded->take_back({behind}), (std::vector{behind}));
  turn();
  EXPECT_EQ(store->held(Call::kWrite), 2u);
}

TEST_F(BoundedExecutorTest, NoneOfThoseThatAreTakenBackBeginsInThePlaceOfAnother) {
  make({.max_executing = 2, .max_waiting = 4});
  store->hold(Call::kWrite);
  submit(1, "a");
  const ClientOpRef behind = submit(2, "a");
  const ClientOpRef waiting = submit(3, "b");
  submit(4, "c");
  EXPECT_EQ(bounded->take_back({behind, waiting}).size(), 2u);
  turn();
  EXPECT_EQ(store->held(Call::kWrite), 2u);
  store->release(Call::kWrite);
  turn();
  EXPECT_EQ(order, (std::vector<Tid>{1, 4}));
}

TEST_F(BoundedExecutorTest, ARemovalComesAfterTheOpsBeforeIt) {
  make({});
  store->hold(Call::kWrite);
  submit(1, "a");
  bool is_removed = false;
  bounded->remove_object({1, "a"}, false, [&] { is_removed = true; });
  turn();
  EXPECT_FALSE(is_removed);
  store->release(Call::kWrite);
  turn();
  EXPECT_TRUE(is_removed);
  EXPECT_EQ(order, (std::vector<Tid>{1})) << "a removal is no client's op";
  EXPECT_EQ(error_of(Vector("a").add(OpCode::kStat, 0, 0)), OsdErrc::kNoSuchObject);
}

TEST_F(BoundedExecutorTest, StopGivesBackWhatWaitsAndDrainWaitsForTheRest) {
  make({.max_executing = 1, .max_waiting = 2});
  store->hold(Call::kWrite);
  submit(1, "a");
  const ClientOpRef second = submit(2, "b");
  EXPECT_EQ(bounded->stop(), (std::deque<ClientOpRef>{second}));
  bool is_drained = false;
  bounded->drain([&] { is_drained = true; });
  turn();
  EXPECT_FALSE(is_drained);
  store->release(Call::kWrite);
  turn();
  EXPECT_TRUE(is_drained);
  EXPECT_EQ(order, (std::vector<Tid>{1}));
}

}  // namespace
}  // namespace lunar::osd
