// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/unconfirmed_changes.h"

#include <gtest/gtest.h>

#include <memory>

namespace lunar::objecter {
namespace {

class UnconfirmedChangesTest : public ::testing::Test {
 protected:
  UnconfirmedChangesTest() {
    auto map = std::make_shared<OsdMap>();
    for (OsdId id = 0; id < 2; ++id) map->osds.push_back({id, {}, {}, true, 9});
    PoolInfo pool;
    pool.id = 1;
    pool.store = StoreKind::kRados;
    map->pools.push_back(pool);
    unconfirmed.set_map(map);
    unconfirmed.set_on_confirmed([this] { ++confirmed; });
  }
  // Of osd.0.
  void add(Tid tid, const std::string& name) {
    Op op;
    op.tid = tid;
    op.osd = 0;
    op.object_op.object = {1, name};
    op.changes = op.was_sent = true;
    op.attempt = op.encoded = 1;
    op.sent_to = 9;
    unconfirmed.add(op);
  }
  UnconfirmedChanges unconfirmed;
  int confirmed = 0;
};

TEST_F(UnconfirmedChangesTest, AnObjectWaitsForAllItsWords) {
  add(1, "a");
  add(2, "a");
  unconfirmed.on_word(0, 1, 1);
  EXPECT_TRUE(unconfirmed.must_wait({1, "a"}, 1));
  EXPECT_FALSE(unconfirmed.must_wait({1, "b"}, 1));
  unconfirmed.on_word(0, 2, 0);  // of an earlier sending
  EXPECT_TRUE(unconfirmed.must_wait({1, "a"}, 1));
  unconfirmed.on_word(0, 2, UnconfirmedChanges::kAllSendings);
  EXPECT_FALSE(unconfirmed.must_wait({1, "a"}, 1));
  EXPECT_EQ(confirmed, 2);
}

TEST_F(UnconfirmedChangesTest, AServerThatOwesTooManyWordsGetsNoMoreAndNobodyElseWaits) {
  for (Tid tid = 1; tid <= UnconfirmedChanges::kMaxOfServer; ++tid) add(tid, "a");
  EXPECT_TRUE(unconfirmed.must_wait({1, "b"}, 0));
  EXPECT_FALSE(unconfirmed.must_wait({1, "b"}, 1));
  unconfirmed.on_word(0, 1, 1);
  EXPECT_FALSE(unconfirmed.must_wait({1, "b"}, 0));
}

TEST_F(UnconfirmedChangesTest, AServerThatWasStartedAnewOwesNothing) {
  add(1, "a");
  auto map = std::make_shared<OsdMap>();
  map->osds.push_back({0, {}, {}, true, 10});
  unconfirmed.set_map(map);
  EXPECT_FALSE(unconfirmed.must_wait({1, "a"}, 1));
}

}  // namespace
}  // namespace lunar::objecter
