// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/placement.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

namespace lunar::objecter {
namespace {

PoolInfo make_pool(uint32_t pgs, std::vector<PoolInfo::Member> members, PoolId id = 1) {
  PoolInfo pool;
  pool.id = id;
  pool.name = "p";
  pool.pg_num = pgs;
  pool.members = std::move(members);
  return pool;
}

uint32_t hash(std::string_view text) { return rjenkins1(as_const_bytes(text)); }

// Placement is part of the format of every pool: these values never change.
TEST(PlacementTest, HashIsPinned) {
  EXPECT_EQ(hash(""), 0xbd49d10du);  // as published for initial value 0
  EXPECT_EQ(hash("a"), 0x29eec818u);
  EXPECT_EQ(hash("hello world"), 0x1aa919e6u);   // 11 bytes: a whole tail
  EXPECT_EQ(hash("hello worlds"), 0xa0ebeef2u);  // 12: one block, no tail
  EXPECT_EQ(hash("rbd_data.1234.0000000000000007"), 0x6f17ee71u);
}

TEST(PlacementTest, PlacementIsPinned) {
  const PoolInfo pool = make_pool(12, {{0, 0x10000}, {1, 0x10000}, {2, 0x20000}}, 7);
  std::string owners;
  for (uint32_t seed = 0; seed < 64; ++seed) {
    owners += static_cast<char>('0' + osd_of_pg(pool, {7, seed}));
  }
  EXPECT_EQ(owners, "0022210102211221121102210020000101222102202122111112010012202222");
  std::string pgs;
  for (int i = 0; i < 16; ++i) {
    pgs += std::to_string(pg_of_object(pool, "obj." + std::to_string(i)).seed) + " ";
  }
  EXPECT_EQ(pgs, "7 4 9 3 9 10 7 5 2 4 8 6 4 7 9 2 ");
}

TEST(PlacementTest, StableModUsesEveryPgAndKeepsMostWhenPgNumGrows) {
  const PoolInfo before = make_pool(12, {{0, 1}});
  const PoolInfo after = make_pool(13, {{0, 1}});
  std::map<uint32_t, int> used;
  int moved = 0;
  for (int i = 0; i < 4000; ++i) {
    const std::string name = "o" + std::to_string(i);
    const uint32_t old_seed = pg_of_object(before, name).seed;
    const uint32_t new_seed = pg_of_object(after, name).seed;
    ++used[old_seed];
    ASSERT_LT(old_seed, 12u);
    if (new_seed != old_seed) {
      EXPECT_EQ(new_seed, 12u) << "only the new PG may take objects";
      ++moved;
    }
  }
  EXPECT_EQ(used.size(), 12u);
  EXPECT_GT(moved, 0);
  EXPECT_LT(moved, 4000 / 8);
}

TEST(PlacementTest, SharesFollowWeights) {
  const PoolInfo pool = make_pool(20'000, {{0, 0x10000}, {1, 0x20000}, {2, 0x8000}, {5, 0}});
  std::map<OsdId, int> share;
  for (uint32_t seed = 0; seed < pool.pg_num; ++seed) ++share[osd_of_pg(pool, {1, seed})];
  EXPECT_EQ(share.count(5), 0u) << "no weight, no PGs";
  EXPECT_NEAR(share[0], 20'000 * 1.0 / 3.5, 250);  // about four standard deviations
  EXPECT_NEAR(share[1], 20'000 * 2.0 / 3.5, 280);
  EXPECT_NEAR(share[2], 20'000 * 0.5 / 3.5, 200);
}

TEST(PlacementTest, ObjectsSpreadEvenly) {
  const PoolInfo pool = make_pool(64, {{0, 0x10000}});
  std::map<uint32_t, int> used;
  char name[64];
  for (unsigned i = 0; i < 64'000; ++i) {
    std::snprintf(name, sizeof name, "5f2a.%016x", i);
    ++used[pg_of_object(pool, name).seed];
  }
  double chi2 = 0;
  for (const auto& [seed, count] : used) chi2 += (count - 1000.0) * (count - 1000.0) / 1000.0;
  EXPECT_EQ(used.size(), 64u);
  EXPECT_LT(chi2, 63 + 5 * std::sqrt(2 * 63.0));
}

TEST(PlacementTest, ChangingOneWeightMovesOnlyToOrFromThatMember) {
  const PoolInfo before = make_pool(8192, {{0, 0x10000}, {1, 0x10000}, {2, 0x10000}});
  PoolInfo heavier = before;
  heavier.members[1].weight = 0x14000;
  PoolInfo without = before;
  without.members.pop_back();
  int to_heavier = 0;
  for (uint32_t seed = 0; seed < 8192; ++seed) {
    const PgId pg{1, seed};
    const OsdId was = osd_of_pg(before, pg);
    if (const OsdId now = osd_of_pg(heavier, pg); now != was) {
      EXPECT_EQ(now, 1);
      ++to_heavier;
    }
    if (was != 2) {
      EXPECT_EQ(osd_of_pg(without, pg), was);
    }
  }
  // From 1/3 to 1.25/3.25 of the PGs.
  EXPECT_NEAR(to_heavier, 8192 * (1.25 / 3.25 - 1.0 / 3), 120);
}

TEST(PlacementTest, OrderOfMembersDoesNotMatter) {
  const PoolInfo one = make_pool(512, {{0, 0x10000}, {1, 0x18000}, {2, 0x10000}});
  const PoolInfo other = make_pool(512, {{2, 0x10000}, {0, 0x10000}, {1, 0x18000}});
  for (uint32_t seed = 0; seed < 512; ++seed) {
    ASSERT_EQ(osd_of_pg(one, {1, seed}), osd_of_pg(other, {1, seed}));
  }
}

TEST(PlacementTest, NoWeightMeansNoOsd) {
  EXPECT_EQ(osd_of_pg(make_pool(8, {{0, 0}, {1, 0}}), {1, 3}), -1);
  EXPECT_EQ(osd_of_pg(make_pool(8, {}), {1, 3}), -1);
}

TEST(PlacementTest, PoolsArePlacedIndependently) {
  const std::vector<PoolInfo::Member> members = {{0, 0x10000}, {1, 0x10000}};
  int equal = 0;
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    equal += osd_of_pg(make_pool(1000, members, 1), {1, seed}) ==
             osd_of_pg(make_pool(1000, members, 2), {2, seed});
  }
  EXPECT_NEAR(equal, 500, 80);
}

// Ten servers, all up, and a pool over them.
OsdMap map_of_ten(StoreKind store) {
  OsdMap map;
  map.pools.push_back(make_pool(1000, {}));
  map.pools[0].store = store;
  for (OsdId id = 0; id < 10; ++id) {
    map.osds.push_back({id, {}, {}, true});
    map.osds.back().kind = store;
    map.pools[0].members.push_back({id});
  }
  return map;
}

TEST(PlacementTest, OnlyThePgsOfADeadServerOfRadosMoveAndSpreadOverAllOthers) {
  const OsdMap before = map_of_ten(StoreKind::kRados);
  OsdMap after = before;
  after.osds[3].up = false;
  std::map<OsdId, int> heirs;
  for (uint32_t seed = 0; seed < 1000; ++seed) {
    const OsdId was = osd_of_pg(before, before.pools[0], {1, seed});
    const OsdId is = osd_of_pg(after, after.pools[0], {1, seed});
    ASSERT_NE(is, 3);
    if (was == 3)
      ++heirs[is];
    else
      ASSERT_EQ(is, was);
  }
  EXPECT_EQ(heirs.size(), 9u);
  for (const auto& [id, pgs] : heirs) EXPECT_LT(pgs, 30) << "osd." << id;
  EXPECT_FALSE(is_placed_alike(before, after, 1));
}

TEST(PlacementTest, PgsOfFilesStayWithAServerThatIsDown) {
  const OsdMap before = map_of_ten(StoreKind::kFile);
  OsdMap after = before;
  after.osds[3].up = false;
  for (uint32_t seed = 0; seed < 1000; ++seed)
    ASSERT_EQ(osd_of_pg(after, after.pools[0], {1, seed}), osd_of_pg(before.pools[0], {1, seed}));
  EXPECT_TRUE(is_placed_alike(before, after, 1));
}

TEST(PlacementTest, PgsOfRadosWaitWhereTheyWouldBeIfNobodyIsUp) {
  OsdMap map = map_of_ten(StoreKind::kRados);
  for (OsdInfo& osd : map.osds) osd.up = false;
  EXPECT_EQ(osd_of_pg(map, map.pools[0], {1, 5}), osd_of_pg(map.pools[0], {1, 5}));
}

// Nobody could have fenced it.
TEST(PlacementTest, PgsOfRadosWaitForAServerThatHasNotNamedItsClient) {
  OsdMap map = map_of_ten(StoreKind::kRados);
  map.osds[3].up = false;
  map.osds[3].kind.reset();
  for (uint32_t seed = 0; seed < 1000; ++seed)
    ASSERT_EQ(osd_of_pg(map, map.pools[0], {1, seed}), osd_of_pg(map.pools[0], {1, seed}));
}

TEST(PlacementTest, PgsOfRadosAreOnNoServerWithAStoreOfItsOwn) {
  OsdMap map = map_of_ten(StoreKind::kRados);
  map.osds[3].kind = StoreKind::kFile;
  for (uint32_t seed = 0; seed < 1000; ++seed)
    ASSERT_NE(osd_of_pg(map, map.pools[0], {1, seed}), 3);
}

}  // namespace
}  // namespace lunar::objecter
