// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/pool_ids.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

TEST(PoolIdsTest, WhatIsAppendedIsInIt) {
  PoolIdSet ids;
  EXPECT_FALSE(ids.has(0));
  EXPECT_EQ(ids.end(), 0u);
  ids.append({3, 4});
  ids.append({4, 6});
  ids.append({8, 8});
  ids.append({9, 10});
  EXPECT_EQ(ids, PoolIdSet({{3, 6}, {9, 10}}));
  std::string in;
  for (PoolId id = 0; id < 12; ++id) in += ids.has(id) ? 'x' : '.';
  EXPECT_EQ(in, "...xxx...x..");
  EXPECT_EQ(ids.end(), 10u);
  EXPECT_EQ(ids.to_text(), "3-5,9");
  EXPECT_EQ(PoolIdSet().to_text(), "");
}

TEST(PoolIdsTest, OnlyRangesInOrderAreWellFormed) {
  EXPECT_TRUE(PoolIdSet().is_well_formed());
  EXPECT_TRUE(PoolIdSet({{1, 2}, {3, 9}}).is_well_formed());
  EXPECT_FALSE(PoolIdSet({{0, 2}}).is_well_formed()) << "no pool has id 0";
  EXPECT_FALSE(PoolIdSet({{2, 2}}).is_well_formed());
  EXPECT_FALSE(PoolIdSet({{3, 2}}).is_well_formed());
  EXPECT_FALSE(PoolIdSet({{1, 3}, {3, 9}}).is_well_formed()) << "that is one range";
  EXPECT_FALSE(PoolIdSet({{5, 9}, {1, 3}}).is_well_formed());
}

}  // namespace
}  // namespace lunar::objecter
