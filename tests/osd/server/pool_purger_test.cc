// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/server/pool_purger.h"

#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

// Removals are done by the test: what is asked for is in `asked`.
class PoolPurgerTest : public StoreFixture {
 protected:
  PoolPurgerTest()
      : purger(*store, [this](const ObjectId& id, UniqueFunction<void()> done) {
          asked.push_back(id);
          removed = std::move(done);
        }) {}
  ~PoolPurgerTest() override {
    purger.stop([] {});
    if (removed) std::exchange(removed, {})();
    turn();
  }
  void write(objecter::PoolId pool, const std::string& name) {
    store->write({pool, name}, 0, as_const_bytes("x"), false, [](std::error_code) {});
    turn();
  }
  // Pools 1 … last were given out; those of `present` are there.
  void set_map(objecter::PoolId last, std::vector<objecter::PoolId> present,
               objecter::PoolIdSet unknown = {}) {
    objecter::OsdMap map;
    map.next_pool_id = last + 1;
    map.unknown_pools = std::move(unknown);
    for (const objecter::PoolId id : present) map.pools.emplace_back().id = id;
    purger.on_map(std::make_shared<const objecter::OsdMap>(std::move(map)));
    turn();
  }
  // The removal in progress ends.
  void end_removal() {
    ASSERT_TRUE(removed);
    store->remove(asked.back(), [](std::error_code) {});
    turn();
    std::exchange(removed, {})();
    turn();
  }

  std::vector<ObjectId> asked;
  UniqueFunction<void()> removed;
  PoolPurger purger;
};

TEST_F(PoolPurgerTest, ObjectsOfARemovedPoolGoOneByOne) {
  write(1, "a");
  write(1, "b");
  write(2, "c");
  set_map(2, {2});
  EXPECT_EQ(asked, (std::vector<ObjectId>{{1, "a"}}));
  end_removal();
  EXPECT_EQ(asked, (std::vector<ObjectId>{{1, "a"}, {1, "b"}}));
  end_removal();
  EXPECT_EQ(asked.size(), 2u);
  EXPECT_FALSE(removed);
}

TEST_F(PoolPurgerTest, APoolThatARestoredMapBringsBackIsLeft) {
  write(1, "a");
  write(1, "b");
  set_map(1, {});
  set_map(1, {1});
  end_removal();
  EXPECT_EQ(asked.size(), 1u);
}

TEST_F(PoolPurgerTest, WhatARestoredMapMayNotKnowStaysUntilItIsSaidToBeGone) {
  write(1, "a");
  write(2, "b");
  set_map(3, {}, objecter::PoolIdSet({{2, 4}}));
  EXPECT_EQ(asked, (std::vector<ObjectId>{{1, "a"}}));
  end_removal();
  EXPECT_EQ(asked.size(), 1u);
  set_map(3, {});
  EXPECT_EQ(asked, (std::vector<ObjectId>{{1, "a"}, {2, "b"}}));
}

TEST_F(PoolPurgerTest, APoolThatGoesWhileAnotherIsPurgedIsNext) {
  write(1, "a");
  write(2, "b");
  set_map(2, {2});
  set_map(2, {});
  end_removal();
  EXPECT_EQ(asked, (std::vector<ObjectId>{{1, "a"}, {2, "b"}}));
}

TEST_F(PoolPurgerTest, StopWaitsForTheRemovalInProgressAndBeginsNoOther) {
  write(1, "a");
  write(1, "b");
  set_map(1, {});
  bool is_stopped = false;
  purger.stop([&] { is_stopped = true; });
  turn();
  EXPECT_FALSE(is_stopped);
  end_removal();
  EXPECT_TRUE(is_stopped);
  EXPECT_EQ(asked.size(), 1u);
}

TEST_F(PoolPurgerTest, WithoutAMapStopIsDoneAtOnce) {
  bool is_stopped = false;
  purger.stop([&] { is_stopped = true; });
  EXPECT_TRUE(is_stopped);
}

}  // namespace
}  // namespace lunar::osd
