// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/targeting.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "objecter/protocol/placement.h"

namespace lunar::objecter {
namespace {

PoolInfo make_pool(PoolId id, std::vector<PoolInfo::Member> members) {
  PoolInfo pool;
  pool.id = id;
  pool.name = "p" + std::to_string(id);
  pool.pg_num = 64;
  pool.members = std::move(members);
  return pool;
}

OsdMapRef make_map(Epoch epoch, std::vector<PoolInfo> pools) {
  auto map = std::make_shared<OsdMap>();
  map->epoch = epoch;
  map->pools = std::move(pools);
  return map;
}

TEST(TargetingTest, GivesWhatIsDrawnEachTimeItIsAsked) {
  Targeting targeting;
  targeting.set_map(make_map(1, {make_pool(1, {{0, 1}, {1, 1}}), make_pool(2, {{2, 1}, {3, 1}})}));
  for (int turn = 0; turn < 2; ++turn) {
    for (const PoolInfo& pool : targeting.map()->pools) {
      for (uint32_t seed = 0; seed < pool.pg_num; ++seed) {
        const PgId pg{pool.id, seed};
        EXPECT_EQ(targeting.of_pg(pool, pg).osd, osd_of_pg(pool, pg));
      }
    }
  }
}

TEST(TargetingTest, FindsTheOsdOfAnObjectByItsPg) {
  Targeting targeting;
  targeting.set_map(make_map(1, {make_pool(1, {{0, 1}, {1, 1}})}));
  const PoolInfo& pool = targeting.map()->pools.front();
  const PgId pg = pg_of_object(pool, "rbd_data.1");
  EXPECT_EQ(targeting.of_object(pool, "rbd_data.1").pg, pg);
  EXPECT_EQ(targeting.of_object(pool, "rbd_data.1").osd, osd_of_pg(pool, pg));
}

TEST(TargetingTest, ForgetsWhatAnEarlierMapSaid) {
  Targeting targeting;
  targeting.set_map(make_map(1, {make_pool(1, {{0, 1}})}));
  EXPECT_EQ(targeting.of_pg(*targeting.find_pool(PoolId{1}), {1, 3}).osd, 0);
  targeting.set_map(make_map(2, {make_pool(1, {{5, 1}})}));
  EXPECT_EQ(targeting.of_pg(*targeting.find_pool(PoolId{1}), {1, 3}).osd, 5);
}

TEST(TargetingTest, HasNobodyForAPgThatThePoolLacks) {
  Targeting targeting;
  targeting.set_map(make_map(1, {make_pool(1, {{0, 1}})}));
  EXPECT_EQ(targeting.of_pg(*targeting.find_pool(PoolId{1}), {1, 64}).osd, -1);
}

}  // namespace
}  // namespace lunar::objecter
