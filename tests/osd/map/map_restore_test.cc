// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_restore.h"

#include "osd/map/unknown_pools.h"
#include "tests/osd/map/map_commands_fixture.h"

namespace lunar::osd {
namespace {

class MapRestoreTest : public MapCommandsTest {};

TEST_F(MapRestoreTest, BackupIsRestoredWithANewEpoch) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const json backup = run({{"prefix", "map backup"}});
  run({{"prefix", "pool rm"}, {"pool", "p"}, {"yes_i_really_really_mean_it", true}});
  run({{"prefix", "pool create"}, {"pool", "q"}});
  const objecter::PoolId next = map.next_pool_id;
  json request = {{"prefix", "map restore"}, {"map", backup.dump()}, {"pool_removed", {"p"}}};
  const std::string sentence = refusal(request, OsdErrc::kNotPermitted);
  EXPECT_NE(sentence.find("(q)"), std::string::npos) << sentence;
  request["yes_i_really_mean_it"] = true;
  const json answer = run(request);
  EXPECT_NE(map.find_pool(std::string_view("p")), nullptr);
  EXPECT_EQ(map.find_pool(std::string_view("q")), nullptr);
  EXPECT_EQ(map.next_pool_id, next + kRestorePoolGap);
  EXPECT_EQ(map.unknown_pools, objecter::PoolIdSet({{next - 1, next + kRestorePoolGap}}))
      << "q's objects are kept";
  EXPECT_EQ(answer["dropped_pools"], "q");
  EXPECT_EQ(answer["unknown_pools"], map.unknown_pools.to_text());
}

// What is left of it was being deleted.
TEST_F(MapRestoreTest, ARemovedPoolComesBackInSoManyWords) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const json backup = run({{"prefix", "map backup"}});
  run({{"prefix", "pool rm"}, {"pool", "p"}, {"yes_i_really_really_mean_it", true}});
  json request = {{"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}};
  EXPECT_NE(refusal(request, OsdErrc::kNotPermitted).find("--pool-removed p"), std::string::npos);
  request["pool_removed"] = {"p"};
  run(request);
  EXPECT_EQ(map.pools.size(), 1u);
}

// Each of two backups knows a pool that the other one does not know.
TEST_F(MapRestoreTest, NoRestoreGivesUpAPoolThatItDoesNotList) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const json older = run({{"prefix", "map backup"}});
  run({{"prefix", "pool create"}, {"pool", "removed"}});
  run({{"prefix", "pool rm"}, {"pool", "removed"}, {"yes_i_really_really_mean_it", true}});
  run({{"prefix", "pool create"}, {"pool", "q"}});
  const objecter::PoolId q = map.pools.at(1).id;
  const json newer = run({{"prefix", "map backup"}});
  run({{"prefix", "map restore"}, {"map", older}, {"yes_i_really_mean_it", true}});
  EXPECT_TRUE(map.unknown_pools.has(q));
  EXPECT_FALSE(map.unknown_pools.has(q - 1)) << "that one was removed";
  run({{"prefix", "pool create"}, {"pool", "r"}});
  const objecter::PoolId r = map.pools.at(1).id;
  run({{"prefix", "map restore"}, {"map", newer}, {"yes_i_really_mean_it", true}});
  EXPECT_EQ(map.pools.at(1).id, q);
  EXPECT_TRUE(map.unknown_pools.has(r));
  run({{"prefix", "map restore"}, {"map", older}, {"yes_i_really_mean_it", true}});
  EXPECT_TRUE(map.unknown_pools.has(q));
  EXPECT_TRUE(map.unknown_pools.has(r));
  EXPECT_FALSE(map.unknown_pools.has(q - 1));
}

// The authority's store is lost: its new one has a map of its own, and its own UUID.
class LostAuthorityTest : public MapCommandsTest {
 protected:
  LostAuthorityTest() {
    run({{"prefix", "pool create"}, {"pool", "p"}});
    backup = run({{"prefix", "map backup"}});
    before = map;
    map = make_first_map(map.fsid, 0, Uuid::random());
    boot(0, map.osds[0].store);
  }
  json restore(json lost) const {
    return {{"prefix", "map restore"},
            {"map", backup},
            {"osd_lost", std::move(lost)},
            {"yes_i_really_mean_it", true}};
  }
  json backup;
  OsdMap before;
};

// Its objects on other servers would be those of the new pool, and the lost ones zeroes.
TEST_F(LostAuthorityTest, APoolMadeAfterTheBackupDoesNotGiveItsIdToAnother) {
  const objecter::PoolId made_since = before.next_pool_id;
  run(restore({0}));
  run({{"prefix", "pool create"}, {"pool", "p2"}, {"osds", {0}}});
  EXPECT_GT(map.find_pool(std::string_view("p2"))->id, made_since);
  EXPECT_GT(map.osds[0].lost_below, made_since);
  EXPECT_EQ(map.find_pool(std::string_view("p"))->id, before.pools[0].id);
}

TEST_F(LostAuthorityTest, PoolsThatTheBackupMayNotKnowAreKeptUntilTheyAreSaidToBeGone) {
  run(restore({0}));
  EXPECT_EQ(map.unknown_pools, objecter::PoolIdSet({{before.next_pool_id, map.next_pool_id}}));
  const std::string shown = map.unknown_pools.to_text();
  run({{"prefix", "pool create"}, {"pool", "p2"}, {"osds", {0}}});
  EXPECT_FALSE(map.unknown_pools.has(map.find_pool(std::string_view("p2"))->id));
  json purge = {{"prefix", "pool purge-unknown"}, {"ids", shown}};
  purge["yes_i_really_really_mean_it"] = true;
  EXPECT_NE(refusal(purge, OsdErrc::kBusy).find("osd.1"), std::string::npos) << "it may know more";
  boot(1, before.osds[1].store);
  OsdBoot late = boot_of(2, before.osds[2].store);
  late.kind = objecter::StoreKind::kFile;
  late.next_pool_id = map.next_pool_id + 3;
  accept(boot_osd(map, late).next);
  EXPECT_NE(refusal(purge, OsdErrc::kNotPermitted).find(map.unknown_pools.to_text()),
            std::string::npos)
      << "not of these ids";
  purge["ids"] = map.unknown_pools.to_text();
  purge.erase("yes_i_really_really_mean_it");
  refusal(purge, OsdErrc::kNotPermitted);
  purge["yes_i_really_really_mean_it"] = true;
  run(purge);
  EXPECT_TRUE(map.unknown_pools.is_empty());
}

// Ids are given out there from 1 on again, and what was removed was another pool.
TEST_F(LostAuthorityTest, WhatWasRemovedBeforeTheRestoreWasAnotherPool) {
  before.pools.clear();
  backup = json::parse(objecter::to_json(before));
  run({{"prefix", "pool create"}, {"pool", "test"}});
  run({{"prefix", "pool rm"}, {"pool", "test"}, {"yes_i_really_really_mean_it", true}});
  run(restore({0}));
  EXPECT_TRUE(map.unknown_pools.has(1)) << "it was p's";
}

TEST_F(LostAuthorityTest, AServerThatWasAddedAfterTheBackupIsAddedAgain) {
  run(restore({0}));
  const Uuid store = Uuid::random();
  json add = {{"prefix", "osd replace"}, {"osd", 9}, {"store", store.to_string()}};
  EXPECT_NE(refusal(add, OsdErrc::kNotPermitted).find("no osd.9"), std::string::npos);
  add["yes_i_really_mean_it"] = true;
  run(add);
  ASSERT_NE(map.find_osd(9), nullptr);
  EXPECT_EQ(map.find_osd(9)->store, store);
  EXPECT_TRUE(awaits_servers(map));
  boot(9, store);
  EXPECT_TRUE(map.find_osd(9)->up);
}

TEST_F(LostAuthorityTest, NoServerIsAddedBeforeTheRestore) {
  const json add = {{"prefix", "osd replace"},
                    {"osd", 1},
                    {"store", before.osds[1].store.to_string()},
                    {"yes_i_really_mean_it", true}};
  EXPECT_NE(refusal(add, OsdErrc::kInvalid).find("restored first"), std::string::npos)
      << "it would take the map of the new authority for that of its cluster";
}

// It may know of pools that were made after the backup, with ids that this map would give out.
TEST_F(LostAuthorityTest, PoolsThatAreMadeWhileServersAreAwayLeaveIdsOut) {
  run(restore({0}));
  const objecter::PoolId next = map.next_pool_id;
  run({{"prefix", "pool create"}, {"pool", "early"}, {"osds", {0}}});
  EXPECT_EQ(map.find_pool(std::string_view("early"))->id, next + kRestorePoolGap);
  EXPECT_TRUE(map.unknown_pools.has(next));
  boot(1, before.osds[1].store);
  boot(2, before.osds[2].store);
  run({{"prefix", "pool create"}, {"pool", "late"}});
  EXPECT_EQ(map.find_pool(std::string_view("late"))->id, next + kRestorePoolGap + 1);
}

// The store of the authority was put back: what it has done since is no history of the cluster.
TEST_F(MapRestoreTest, WhatAnAuthorityThatWasPutBackHasRemovedWasAnotherPool) {
  OsdMap newer = map;
  newer.epoch += 100;
  newer.next_pool_id += 5;
  run({{"prefix", "pool create"}, {"pool", "t"}});
  const objecter::PoolId id = map.pools.at(0).id;
  run({{"prefix", "pool rm"}, {"pool", "t"}, {"yes_i_really_really_mean_it", true}});
  run({{"prefix", "map restore"},
       {"map", objecter::to_json(newer)},
       {"yes_i_really_mean_it", true}});
  EXPECT_TRUE(map.unknown_pools.has(id));
}

TEST_F(LostAuthorityTest, ServersOfRadosAreWaitedForAsNobodyKnowsHowToFenceThem) {
  for (objecter::OsdInfo& osd : before.osds) osd.kind = objecter::StoreKind::kRados;
  before.osds[1].rados_client = "client/1";
  backup = json::parse(objecter::to_json(before));
  run(restore({0}));
  EXPECT_FALSE(map.osds[1].kind);
  EXPECT_EQ(map.osds[1].rados_client, "");
}

TEST_F(LostAuthorityTest, CountersThatAreMadeUpAreRefused) {
  const json good = backup;
  backup["epoch"] = OsdMap::kMaxEpoch - kRestoreGap;
  EXPECT_NE(refusal(restore({0}), OsdErrc::kInvalid).find("epoch"), std::string::npos);
  backup = good;
  backup["next_pool_id"] = OsdMap::kMaxPoolId;
  EXPECT_NE(refusal(restore({0}), OsdErrc::kInvalid).find("pool ids"), std::string::npos);
}

// What it says of starts may be older than what servers remember.
TEST_F(MapRestoreTest, AnAuthorityThatWasPutBackLetsAnyStartComeAfterTheRestore) {
  OsdMap newer = map;
  newer.epoch += 10;
  run({{"prefix", "map restore"},
       {"map", objecter::to_json(newer)},
       {"yes_i_really_mean_it", true}});
  EXPECT_EQ(map.osds[0].incarnation, 1u);
  EXPECT_TRUE(map.osds[0].up);
  EXPECT_EQ(map.osds[1].incarnation, 0u);
  EXPECT_FALSE(map.osds[1].up) << "one that runs boots again";
  OsdBoot later = boot_of(1, map.osds[1].store);
  later.incarnation = 9;
  later.previous = {8};
  EXPECT_EQ(boot_osd(map, later).reply.error, OsdErrc::kOk);
}

TEST_F(MapRestoreTest, WhatARestoreUndoesIsNotWhoMayStart) {
  const json backup = run({{"prefix", "map backup"}});
  run({{"prefix", "pool create"}, {"pool", "p"}});
  run({{"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}});
  EXPECT_EQ(map.osds[1].incarnation, 1u) << "a copy of its store is none of its starts";
}

// Servers delete what is in it: a backup that knows it must not bring it back by the way.
TEST_F(LostAuthorityTest, AnUnknownPoolThatWasGivenUpIsARemovedOne) {
  run(restore({0}));
  for (const int id : {1, 2}) boot(id, before.osds[static_cast<std::size_t>(id)].store);
  run({{"prefix", "pool purge-unknown"},
       {"ids", map.unknown_pools.to_text()},
       {"yes_i_really_really_mean_it", true}});
  objecter::PoolInfo late = before.pools[0];
  late.id = before.next_pool_id++;
  late.name = "late";
  before.pools.push_back(late);
  backup = json::parse(objecter::to_json(before));
  EXPECT_NE(refusal(restore({0}), OsdErrc::kNotPermitted).find("--pool-removed late"),
            std::string::npos);
}

// The second backup knows what the first one did not.
TEST_F(LostAuthorityTest, ANewerBackupTellsWhichPoolsAreKnown) {
  objecter::PoolInfo late = before.pools[0];
  late.id = before.next_pool_id;
  late.name = "late";
  before.pools.push_back(late);
  ++before.next_pool_id;
  run(restore({0}));
  backup = json::parse(objecter::to_json(before));
  for (auto& osd : backup["osds"])
    if (osd["id"] == 0) osd["store"] = map.osds[0].store.to_string();
  run(restore(json::array()));
  EXPECT_NE(map.find_pool(std::string_view("late")), nullptr);
  EXPECT_EQ(map.unknown_pools, objecter::PoolIdSet({{before.next_pool_id, map.next_pool_id}}));
}

// Which pools there were after the backup is known to those servers alone.
TEST_F(LostAuthorityTest, APoolIsMadeOnServersThatHaveSaidWhichIdsTheyKnow) {
  run(restore({0}));
  const json request = {{"prefix", "pool create"}, {"pool", "p2"}, {"osds", {0, 1}}};
  EXPECT_NE(refusal(request, OsdErrc::kBusy).find("osd.1"), std::string::npos);
  OsdBoot back = boot_of(1, before.osds[1].store);
  back.kind = objecter::StoreKind::kFile;
  back.next_pool_id = map.next_pool_id + 2000;
  accept(boot_osd(map, back).next);
  run(request);
  EXPECT_GE(map.find_pool(std::string_view("p2"))->id, back.next_pool_id);
}

TEST_F(LostAuthorityTest, RestoringReplacesItsStoreIfThatIsSaid) {
  const std::string sentence = refusal(restore(json::array()), OsdErrc::kNotPermitted);
  EXPECT_NE(sentence.find("--osd-lost 0"), std::string::npos) << sentence;
  EXPECT_NE(sentence.find(before.osds[0].store.to_string()), std::string::npos) << sentence;
  const objecter::OsdInfo now = map.osds[0];
  const json answer = run(restore({0}));
  EXPECT_EQ(answer["replaced"][0]["lost_store"], before.osds[0].store.to_string());
  EXPECT_EQ(map.osds[0].store, now.store);
  EXPECT_TRUE(map.osds[0].up) << "it is the one that answers";
  EXPECT_EQ(map.osds[0].addresses, now.addresses);
  EXPECT_EQ(map.osds[0].lost_below, map.next_pool_id) << "what is absent there is lost";
  ASSERT_EQ(map.osds.size(), 3u);
  EXPECT_EQ(map.osds[1].store, before.osds[1].store);
  EXPECT_FALSE(map.osds[1].up);
  EXPECT_EQ(map.osds[1].incarnation, 0u) << "any start of that store may come";
  EXPECT_EQ(map.pools, before.pools);
}

TEST_F(LostAuthorityTest, TheServersComeBackToTheRestoredMap) {
  CommandChange change = run_map_command(map, restore({"0"}).dump());
  ASSERT_TRUE(change.next);
  EXPECT_GT(change.next->epoch, before.epoch + 100'000) << "whatever epoch they have seen";
  map = *change.next;
  OsdBoot back = boot_of(1, before.osds[1].store);
  back.epoch = before.epoch + 50;
  back.incarnation = 77;
  accept(boot_osd(map, back).next);
  EXPECT_TRUE(map.osds[1].up);
  EXPECT_FALSE(boot_osd(map, boot_of(0, map.osds[0].store)).reply.error != OsdErrc::kOk);
}

TEST_F(LostAuthorityTest, AStoreThatIsNotReplacedIsNotLost) {
  EXPECT_NE(refusal(restore({0, 1}), OsdErrc::kInvalid).find("osd.1"), std::string::npos);
  EXPECT_NE(refusal(restore("x"), OsdErrc::kInvalid).find("osd_lost"), std::string::npos);
}

TEST_F(LostAuthorityTest, PoolsThatWouldMixAreRefused) {
  run({{"prefix", "pool create"}, {"pool", "other"}});
  const std::string sentence = refusal(restore({0}), OsdErrc::kInvalid);
  EXPECT_NE(sentence.find("'other'"), std::string::npos) << sentence;
}

TEST_F(MapRestoreTest, AnotherClustersMapIsNotRestored) {
  OsdMap other = map;
  other.fsid = Uuid::random();
  EXPECT_NE(refusal({{"prefix", "map restore"},
                     {"map", objecter::to_json(other)},
                     {"yes_i_really_mean_it", true}},
                    OsdErrc::kInvalid)
                .find(other.fsid.to_string()),
            std::string::npos);
}

// A backup is of a time when somebody else may have been in.
TEST_F(MapRestoreTest, WhoIsOutIsNoOtherPool) {
  for (objecter::OsdInfo& osd : map.osds) osd.kind = objecter::StoreKind::kRados;
  run({{"prefix", "pool create"}, {"pool", "p"}, {"store", "rados"}, {"rados_pool", "r"}});
  const json backup = run({{"prefix", "map backup"}});
  run({{"prefix", "osd out"}, {"osd", "1"}});
  run({{"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}});
  EXPECT_EQ(map.pools.at(0).members.at(1).weight, 0u) << "and stays out";
}

}  // namespace
}  // namespace lunar::osd
