// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_table.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

class OpTableTest : public testing::Test {
 protected:
  Op& add(uint64_t bytes = 0) {
    Op& op = table.add();
    op.budget_bytes = bytes;
    return op;
  }
  void drop(Op& op) {
    table.remove(op);
    table.recycle(op);
  }
  ~OpTableTest() override {
    table.for_each([this](Op& op) { drop(op); });
  }

  OpTable table{{3, 1000}};
};

TEST_F(OpTableTest, TidsStartAtOneAndAreNeverReused) {
  Op& first = add();
  EXPECT_EQ(first.tid, 1u);
  EXPECT_EQ(table.find(1), &first);
  drop(first);
  EXPECT_EQ(table.find(1), nullptr);
  Op& second = add();
  EXPECT_EQ(second.tid, 2u);
  EXPECT_EQ(&second, &first) << "its memory is used again";
  EXPECT_EQ(second.attempt, 0u);
  EXPECT_EQ(table.take_tid(), 3u);
  EXPECT_EQ(add().tid, 4u);
}

TEST_F(OpTableTest, OpsAboveTheLimitWaitInOrder) {
  Op* ops[5];
  for (Op*& op : ops) {
    op = &add();
    EXPECT_EQ(table.admit(*op), op->tid <= 3);
  }
  EXPECT_EQ(table.next_admitted(), nullptr);
  EXPECT_EQ(ops[3]->state, OpState::kThrottled);
  drop(*ops[0]);
  EXPECT_EQ(table.next_admitted(), ops[3]);
  EXPECT_EQ(table.next_admitted(), nullptr);
  drop(*ops[1]);
  EXPECT_EQ(table.next_admitted(), ops[4]);
}

TEST_F(OpTableTest, BytesAboveTheLimitWaitAndNothingPassesThem) {
  Op& large = add(600);
  Op& also_large = add(600);
  Op& small = add(1);
  EXPECT_TRUE(table.admit(large));
  EXPECT_FALSE(table.admit(also_large));
  EXPECT_FALSE(table.admit(small)) << "it would fit, but others came first";
  drop(large);
  EXPECT_EQ(table.next_admitted(), &also_large);
  EXPECT_EQ(table.next_admitted(), &small);
  EXPECT_EQ(table.in_flight_bytes(), 601u);
}

TEST_F(OpTableTest, OneOpAboveAllLimitsGoesAlone) {
  Op& huge = add(5000);
  EXPECT_TRUE(table.admit(huge));
  Op& next = add(1);
  EXPECT_FALSE(table.admit(next));
  drop(huge);
  EXPECT_EQ(table.next_admitted(), &next);
}

TEST_F(OpTableTest, OpThatEndsWhileItWaitsIsForgotten) {
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(table.admit(add()));
  Op& waiting = add();
  Op& behind = add();
  EXPECT_FALSE(table.admit(waiting));
  EXPECT_FALSE(table.admit(behind));
  drop(waiting);
  drop(*table.find(1));
  EXPECT_EQ(table.next_admitted(), &behind);
  EXPECT_EQ(table.in_flight_ops(), 3u);
}

}  // namespace
}  // namespace lunar::objecter
