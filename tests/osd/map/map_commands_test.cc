// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_commands.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "objecter/protocol/placement.h"
#include "osd/map/map_boot.h"
#include "osd/map/unknown_pools.h"

namespace lunar::osd {
namespace {

using nlohmann::json;
using objecter::OsdBoot;
using objecter::OsdErrc;
using objecter::OsdMap;

class MapCommandsTest : public ::testing::Test {
 protected:
  MapCommandsTest() : map(make_first_map(Uuid::random(), 0, Uuid::random())) {
    for (int id = 0; id < 3; ++id) boot(id, id == 0 ? map.osds[0].store : Uuid::random());
  }
  OsdBoot boot_of(int id, Uuid store) const {
    OsdBoot boot;
    boot.osd = id;
    boot.fsid = map.fsid;
    boot.store = store;
    boot.incarnation = 1;
    boot.addresses = {msgr::Address::loopback(static_cast<uint16_t>(6800 + id))};
    return boot;
  }
  void boot(int id, Uuid store) { accept(boot_osd(map, boot_of(id, store)).next); }
  void accept(std::optional<OsdMap> next) {
    ASSERT_TRUE(next);
    next->epoch = std::max(next->epoch, map.epoch) + 1;
    map = std::move(*next);
    const auto valid = objecter::validate(map);
    ASSERT_TRUE(valid) << valid.error().message;
  }
  // A command that must succeed; its change is taken over.
  json run(const json& request) {
    CommandChange change = run_map_command(map, request.dump());
    EXPECT_EQ(change.reply.error, OsdErrc::kOk) << change.reply.text;
    if (change.next) accept(std::move(change.next));
    return json::parse(change.reply.text, nullptr, false);
  }
  std::string refusal(const json& request, OsdErrc error) {
    CommandChange change = run_map_command(map, request.dump());
    EXPECT_EQ(change.reply.error, error) << change.reply.text;
    EXPECT_FALSE(change.next);
    return change.reply.text;
  }
  OsdMap map;
};

TEST_F(MapCommandsTest, StatusCounts) {
  const json status = run({{"prefix", "status"}});
  EXPECT_EQ(status["num_osds"], 3);
  EXPECT_EQ(status["num_up_osds"], 3);
  EXPECT_EQ(status["fsid"], map.fsid.to_string());
}

TEST_F(MapCommandsTest, OsdLsAndTree) {
  EXPECT_EQ(run({{"prefix", "osd ls"}}), json({0, 1, 2}));
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const json tree = run({{"prefix", "osd tree"}});
  EXPECT_EQ(tree["nodes"].size(), 3u);
  EXPECT_EQ(tree["nodes"][1]["pools"][0]["pool"], "p");
}

TEST_F(MapCommandsTest, OsdDownAndUnknownOsd) {
  run({{"prefix", "osd down"}, {"osd", "1"}});
  EXPECT_FALSE(map.find_osd(1)->up);
  EXPECT_NE(refusal({{"prefix", "osd down"}, {"osd", 9}}, OsdErrc::kInvalid).find("osd.9"),
            std::string::npos);
}

// Three servers in RADOS, and a pool.
class RadosMapCommandsTest : public MapCommandsTest {
 protected:
  RadosMapCommandsTest() {
    for (objecter::OsdInfo& osd : map.osds) {
      osd.kind = objecter::StoreKind::kRados;
      osd.rados_client = "client/" + std::to_string(osd.id);
    }
    run(pool_create);
  }
  uint32_t weight(int osd) const {
    return map.pools.at(0).members.at(static_cast<std::size_t>(osd)).weight;
  }
  std::set<int> servers() const {
    std::set<int> found;
    for (uint32_t seed = 0; seed < 64; ++seed)
      found.insert(objecter::osd_of_pg(map, map.pools.at(0), {1, seed}));
    return found;
  }
  const json pool_create = {{"prefix", "pool create"}, {"pool", "p"},        {"store", "rados"},
                            {"rados_pool", "r"},       {"weights", "1,2,1"}, {"osds", "0,1,2"}};
};

TEST_F(RadosMapCommandsTest, AServerThatIsOutHasNoPgUntilItIsInAgain) {
  const json out = run({{"prefix", "osd out"}, {"osd", "1"}});
  EXPECT_EQ(out["had"], json::parse(R"([{"pool": "p", "weight": 2.0}])"));
  EXPECT_EQ(servers(), (std::set{0, 2}));
  EXPECT_TRUE(map.find_osd(1)->up);
  run({{"prefix", "osd in"}, {"osd", "1"}, {"weight", "2"}});
  EXPECT_EQ(weight(1), 2u << 16);
  EXPECT_EQ(servers(), (std::set{0, 1, 2}));
}

TEST_F(RadosMapCommandsTest, OsdOutAndInChangeNothingTheSecondTime) {
  run({{"prefix", "osd out"}, {"osd", 1}});
  const objecter::Epoch epoch = map.epoch;
  run({{"prefix", "osd out"}, {"osd", 1}});
  EXPECT_EQ(map.epoch, epoch);
  run({{"prefix", "osd in"}, {"osd", 1}});
  EXPECT_EQ(weight(1), 1u << 16);
  run({{"prefix", "osd in"}, {"osd", 1}, {"weight", 5}});
  EXPECT_EQ(weight(1), 1u << 16) << "it is in already";
  EXPECT_EQ(map.epoch, epoch + 1);
}

TEST_F(RadosMapCommandsTest, NobodyGoesOutWithoutAnHeirThatIsUp) {
  run({{"prefix", "osd out"}, {"osd", 0}});
  run({{"prefix", "osd down"}, {"osd", 2}});
  EXPECT_NE(refusal({{"prefix", "osd out"}, {"osd", 1}}, OsdErrc::kBusy).find("pool p"),
            std::string::npos);
  run({{"prefix", "osd in"}, {"osd", 0}});
  run({{"prefix", "osd out"}, {"osd", 1}});
}

// Its PGs wait for it, since it could not be fenced.
TEST_F(RadosMapCommandsTest, WhoMayRunUnfencedGoesOutInSoManyWords) {
  mark_down(map.osds[1]);
  map.osds[1].kind.reset();
  EXPECT_NE(refusal({{"prefix", "osd out"}, {"osd", 1}}, OsdErrc::kNotPermitted).find("has ended"),
            std::string::npos);
  run({{"prefix", "osd out"}, {"osd", 1}, {"yes_i_really_mean_it", true}});
  EXPECT_EQ(weight(1), 0u);
}

TEST_F(RadosMapCommandsTest, OsdOutAndInRefusals) {
  refusal({{"prefix", "osd out"}, {"osd", 9}}, OsdErrc::kInvalid);
  refusal({{"prefix", "osd in"}, {"osd", 9}}, OsdErrc::kInvalid);
  for (const json& weight : {json(0), json(-1), json(1e-6), json(257), json("many")})
    EXPECT_NE(refusal({{"prefix", "osd in"}, {"osd", 1}, {"weight", weight}}, OsdErrc::kInvalid)
                  .find("\"weight\""),
              std::string::npos);
}

// A backup is of a time when somebody else may have been in.
TEST_F(RadosMapCommandsTest, WhoIsOutIsNoOtherPool) {
  const json backup = run({{"prefix", "map backup"}});
  run({{"prefix", "osd out"}, {"osd", 1}});
  run({{"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}});
  EXPECT_EQ(weight(1), 0u) << "and stays out";
}

TEST_F(MapCommandsTest, ObjectsOfAHostStayOnItsDisks) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  for (const char* prefix : {"osd out", "osd in"})
    EXPECT_NE(refusal({{"prefix", prefix}, {"osd", 1}}, OsdErrc::kInvalid).find("RADOS"),
              std::string::npos);
}

TEST_F(MapCommandsTest, OsdRmRefusesWhatIsUpOrHoldsAPool) {
  refusal({{"prefix", "osd rm"}, {"osd", 2}}, OsdErrc::kBusy);
  run({{"prefix", "pool create"}, {"pool", "p"}});
  run({{"prefix", "osd down"}, {"osd", 2}});
  EXPECT_NE(refusal({{"prefix", "osd rm"}, {"osd", 2}}, OsdErrc::kBusy).find("pool p"),
            std::string::npos);
  run({{"prefix", "pool rm"}, {"pool", "p"}, {"yes_i_really_really_mean_it", true}});
  run({{"prefix", "osd rm"}, {"osd", 2}});
  EXPECT_EQ(map.find_osd(2), nullptr);
}

TEST_F(MapCommandsTest, PoolCreateTakesWhatAUserTypes) {
  const json pool = run({{"prefix", "pool create"},
                         {"pool", "rbd"},
                         {"pg_num", "128"},
                         {"osds", "2,0"},
                         {"weights", "1,0.5"},
                         {"object_size", "1M"}});
  EXPECT_EQ(pool["pg_num"], 128);
  EXPECT_EQ(pool["object_size"], 1u << 20);
  const objecter::PoolInfo* made = map.find_pool(std::string_view("rbd"));
  ASSERT_EQ(made->members.size(), 2u);
  EXPECT_EQ(made->members[0], (objecter::PoolInfo::Member{0, 0x8000}));
  EXPECT_EQ(made->members[1], (objecter::PoolInfo::Member{2, 0x10000}));
  EXPECT_EQ(run({{"prefix", "pool get"}, {"pool", "rbd"}}), pool);
}

TEST_F(MapCommandsTest, PoolCreateFillsTheMapAndIsThenRefused) {
  for (int id = 3; id < 64; ++id) boot(id, Uuid::random());
  OsdErrc error = OsdErrc::kOk;
  std::string sentence;
  run({{"prefix", "pool create"}, {"pool", "p0"}});
  while (map.pools.size() < 1750) {  // each command looks at the whole map
    objecter::PoolInfo pool = map.pools.back();
    pool.id = map.next_pool_id++;
    pool.name = "p" + std::to_string(map.pools.size());
    map.pools.push_back(std::move(pool));
  }
  std::size_t pools = map.pools.size();
  for (; error == OsdErrc::kOk && pools < 4096; ++pools) {
    CommandChange change = run_map_command(
        map, json{{"prefix", "pool create"}, {"pool", "p" + std::to_string(pools)}}.dump());
    error = change.reply.error;
    sentence = change.reply.text;
    if (change.next) {
      change.next->epoch = map.epoch + 1;
      map = std::move(*change.next);
    }
  }
  EXPECT_EQ(error, OsdErrc::kTooLarge);
  EXPECT_GT(pools, 1800u);
  EXPECT_NE(sentence.find("remove a pool"), std::string::npos) << sentence;
  std::vector<std::byte> bytes;
  objecter::encode(map, bytes);
  EXPECT_LE(bytes.size(), OsdMap::kMaxEncodedBytes);
  // What is there can be saved and put back.
  const std::string saved = run_map_command(map, R"({"prefix": "map backup"})").reply.text;
  const CommandChange restored = run_map_command(
      map, json{{"prefix", "map restore"}, {"map", saved}, {"yes_i_really_mean_it", true}}.dump());
  EXPECT_EQ(restored.reply.error, OsdErrc::kOk) << restored.reply.text;
  // One more server does not fit either, and is told so by validate() when the map is published.
  OsdMap more = *boot_osd(map, boot_of(64, Uuid::random())).next;
  const auto valid = objecter::validate(more);
  EXPECT_TRUE(valid || valid.error().code == OsdErrc::kTooLarge);
}

TEST_F(MapCommandsTest, OsdMapIsWhereOpsGo) {
  run({{"prefix", "pool create"}, {"pool", "p"}, {"pg_num", 64}, {"osds", "1,2"}});
  const objecter::PoolInfo& pool = *map.find_pool(std::string_view("p"));
  std::set<int> seen;
  for (int i = 0; i < 32; ++i) {
    const std::string name = fmt::format("0123456789abcdef.{:016x}", i);
    const json found = run({{"prefix", "osd map"}, {"pool", "p"}, {"object", name}});
    const auto pg = objecter::pg_of_object(pool, name);
    EXPECT_EQ(found["pgid"], fmt::format("{}.{:x}", pg.pool, pg.seed));
    EXPECT_EQ(found["osd"], objecter::osd_of_pg(pool, pg));
    EXPECT_EQ(found["status"], "up");
    seen.insert(found["osd"].get<int>());
  }
  EXPECT_EQ(seen, (std::set{1, 2}));
  run({{"prefix", "osd down"}, {"osd", 1}});
  run({{"prefix", "osd down"}, {"osd", 2}});
  EXPECT_EQ(run({{"prefix", "osd map"}, {"pool", "p"}, {"object", "x"}})["status"], "down");
}

TEST_F(MapCommandsTest, OsdMapRefusals) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  refusal({{"prefix", "osd map"}, {"pool", "q"}, {"object", "x"}}, OsdErrc::kNoSuchPool);
  for (const char* name : {"", "a/b", "a b"})
    EXPECT_NE(refusal({{"prefix", "osd map"}, {"pool", "p"}, {"object", name}}, OsdErrc::kInvalid)
                  .find("\"object\""),
              std::string::npos);
  refusal({{"prefix", "osd map"}, {"pool", "p"}}, OsdErrc::kInvalid);
}

TEST_F(MapCommandsTest, PoolCreateRefusalsNameTheArgument) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  EXPECT_NE(refusal({{"prefix", "pool create"}, {"pool", "p"}}, OsdErrc::kExists).find("'p'"),
            std::string::npos);
  const auto invalid = [&](json extra) {
    json request = {{"prefix", "pool create"}, {"pool", "q"}};
    request.update(extra);
    return refusal(request, OsdErrc::kInvalid);
  };
  EXPECT_NE(invalid({{"pg_num", 0}}).find("pg_num"), std::string::npos);
  EXPECT_NE(invalid({{"osds", {7}}}).find("osds"), std::string::npos);
  EXPECT_NE(invalid({{"weights", {1}}}).find("weights"), std::string::npos);
  EXPECT_NE(invalid({{"weights", "1,nan,1"}}).find("weights"), std::string::npos);
  EXPECT_FALSE(invalid({{"object_size", "3M"}}).empty());
  EXPECT_NE(invalid({{"store", "tape"}}).find("store"), std::string::npos);
  EXPECT_NE(invalid({{"store", "rados"}}).find("rados_pool"), std::string::npos);
  EXPECT_NE(invalid({{"store", "mem"}, {"rados_pool", "lunar"}}).find("\"rados\""),
            std::string::npos);
  EXPECT_FALSE(invalid({{"osds", {0, 0}}}).empty());
  EXPECT_FALSE(invalid({{"pool", "a/b"}}).empty());
}

TEST_F(MapCommandsTest, PoolsInRadosHaveAPlaceEachAndAreAskedFor) {
  const json request = {
      {"prefix", "pool create"}, {"pool", "p"}, {"store", "rados"}, {"rados_pool", "lunar"}};
  const auto asked_for = rados_pool_asked_for(map, request.dump());
  ASSERT_TRUE(asked_for);
  EXPECT_EQ(asked_for->rados_namespace, "p");
  EXPECT_FALSE(rados_pool_asked_for(map, R"({"prefix": "pool create", "pool": "p"})"));
  EXPECT_FALSE(rados_pool_asked_for(map, R"({"prefix": "pool ls", "store": "rados"})"));
  const json made = run(request);
  EXPECT_EQ(made["rados_pool"], "lunar");
  EXPECT_EQ(made["rados_namespace"], "p");
  json other = request;
  other.update(json{{"pool", "q"}, {"rados_namespace", "p"}});
  EXPECT_NE(refusal(other, OsdErrc::kInvalid).find("namespace p"), std::string::npos);
  other["rados_namespace"] = "q";
  run(other);
}

TEST_F(MapCommandsTest, PoolRmAsksToMeanItAndNeverReusesAnId) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const objecter::PoolId id = map.find_pool(std::string_view("p"))->id;
  refusal({{"prefix", "pool rm"}, {"pool", "p"}}, OsdErrc::kNotPermitted);
  run({{"prefix", "pool rm"}, {"pool", "p"}, {"yes_i_really_really_mean_it", true}});
  refusal({{"prefix", "pool rm"}, {"pool", "p"}}, OsdErrc::kNoSuchPool);
  run({{"prefix", "pool create"}, {"pool", "p"}});
  EXPECT_GT(map.find_pool(std::string_view("p"))->id, id);
}

TEST_F(MapCommandsTest, BackupIsRestoredWithANewEpoch) {
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
TEST_F(MapCommandsTest, ARemovedPoolComesBackInSoManyWords) {
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
TEST_F(MapCommandsTest, NoRestoreGivesUpAPoolThatItDoesNotList) {
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
TEST_F(MapCommandsTest, WhatAnAuthorityThatWasPutBackHasRemovedWasAnotherPool) {
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
TEST_F(MapCommandsTest, AnAuthorityThatWasPutBackLetsAnyStartComeAfterTheRestore) {
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

TEST_F(MapCommandsTest, WhatARestoreUndoesIsNotWhoMayStart) {
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

TEST_F(MapCommandsTest, AnotherClustersMapIsNotRestored) {
  OsdMap other = map;
  other.fsid = Uuid::random();
  EXPECT_NE(refusal({{"prefix", "map restore"},
                     {"map", objecter::to_json(other)},
                     {"yes_i_really_mean_it", true}},
                    OsdErrc::kInvalid)
                .find(other.fsid.to_string()),
            std::string::npos);
}

TEST_F(MapCommandsTest, GarbageIsRefusedWithASentence) {
  for (const char* text : {"", "{", "[]", "7", "{\"prefix\": 3}", "{\"prefix\": \"pool fly\"}",
                           "{\"prefix\": \"map restore\", \"map\": [[]]}",
                           "{\"prefix\": \"pool create\", \"pool\": {}, \"osds\": {}}"}) {
    const CommandChange change = run_map_command(map, text);
    EXPECT_EQ(change.reply.error, OsdErrc::kInvalid) << text;
    EXPECT_FALSE(change.reply.text.empty()) << text;
    EXPECT_FALSE(change.next) << text;
  }
}

TEST_F(MapCommandsTest, NestingWithoutEndIsRefusedWithASentence) {
  const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
  for (const std::string start :
       {R"({"prefix": "map restore", "map": )", R"({"prefix": "pool create", "osds": )",
        R"({"prefix": "pool create", "osds": [0], "weights": )", R"({"prefix": )"}) {
    const std::string text = start + deep + "}";
    EXPECT_EQ(command_prefix(text), "");
    const CommandChange change = run_map_command(map, text);
    EXPECT_EQ(change.reply.error, OsdErrc::kInvalid);
    EXPECT_EQ(change.reply.text, "the command is nested more than 16 deep");
  }
}

TEST_F(MapCommandsTest, WhatIsSaidOfAnArgumentIsShort) {
  const std::string text(400'000, 'x');
  for (const json& request :
       {json{{"prefix", text}}, json{{"prefix", "pool get"}, {"pool", text}},
        json{{"prefix", "pool create"}, {"pool", "a"}, {"osds", {text}}},
        json{{"prefix", "pool create"}, {"pool", "a"}, {"osds", {0}}, {"weights", {text}}}}) {
    EXPECT_LT(run_map_command(map, request.dump()).reply.text.size(), 500u);
  }
}

class MapStartsTest : public MapCommandsTest {
 protected:
  // osd.1 comes with this start, and remembers those.
  BootChange start(uint64_t incarnation, std::vector<uint64_t> previous) {
    OsdBoot boot = boot_of(1, map.find_osd(1)->store);
    boot.incarnation = incarnation;
    boot.previous = std::move(previous);
    BootChange change = boot_osd(map, boot);
    if (change.next) map = *change.next;
    return change;
  }
};

TEST_F(MapStartsTest, ReplacingAStoreIsSaidInSoManyWords) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const Uuid old = map.find_osd(1)->store;
  const Uuid store = Uuid::random();
  json request = {{"prefix", "osd replace"}, {"osd", 1}, {"store", store.to_string()}};
  EXPECT_NE(refusal(request, OsdErrc::kBusy).find("osd.1 is up"), std::string::npos);
  run({{"prefix", "osd down"}, {"osd", 1}});
  const std::string sentence = refusal(request, OsdErrc::kNotPermitted);
  EXPECT_NE(sentence.find(old.to_string()), std::string::npos) << sentence;
  EXPECT_NE(sentence.find(" p)"), std::string::npos) << sentence;
  request["yes_i_really_mean_it"] = true;
  run(request);
  EXPECT_EQ(map.find_osd(1)->store, store);
  EXPECT_EQ(map.find_osd(1)->lost_below, map.next_pool_id);
  EXPECT_EQ(boot_osd(map, boot_of(1, old)).reply.error, OsdErrc::kExists);
  accept(boot_osd(map, boot_of(1, store)).next);
  EXPECT_EQ(map.find_osd(1)->lost_below, map.next_pool_id) << "it stays lost";
}

TEST_F(MapStartsTest, ACopyIsAcceptedIfThatIsSaid) {
  start(5, {1});
  run({{"prefix", "osd down"}, {"osd", 1}});
  run({{"prefix", "osd replace"},
       {"osd", 1},
       {"store", map.find_osd(1)->store.to_string()},
       {"yes_i_really_mean_it", true}});
  EXPECT_EQ(map.find_osd(1)->lost_below, 0u);
  EXPECT_EQ(start(4, {1}).reply.error, OsdErrc::kOk);
  EXPECT_EQ(start(9, {5}).reply.error, OsdErrc::kExists) << "and the original is the copy now";
}

TEST_F(MapStartsTest, WhatCannotBeReplaced) {
  const auto replace = [](json osd, json store) {
    return json{{"prefix", "osd replace"},
                {"osd", std::move(osd)},
                {"store", std::move(store)},
                {"yes_i_really_mean_it", true}};
  };
  const std::string store = Uuid::random().to_string();
  run({{"prefix", "osd down"}, {"osd", 0}});
  run({{"prefix", "osd down"}, {"osd", 1}});
  EXPECT_NE(refusal(replace(0, store), OsdErrc::kInvalid).find("map restore"), std::string::npos);
  refusal(replace(-7, store), OsdErrc::kInvalid);
  refusal(replace(7, map.find_osd(2)->store.to_string()), OsdErrc::kExists);
  refusal(replace(1, "x"), OsdErrc::kInvalid);
  refusal(replace(1, map.find_osd(2)->store.to_string()), OsdErrc::kExists);
}

TEST_F(MapCommandsTest, BootOfOneStoreUnderTwoIdsIsRefused) {
  EXPECT_EQ(boot_osd(map, boot_of(7, map.find_osd(1)->store)).reply.error, OsdErrc::kExists);
}

TEST_F(MapCommandsTest, BootWithANewerMapThanTheAuthoritysIsRefused) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.epoch = map.epoch + 1;
  EXPECT_EQ(boot_osd(map, boot).reply.error, OsdErrc::kIncompatible);
}

TEST_F(MapCommandsTest, RepeatedBootMakesNoNewMap) {
  EXPECT_FALSE(boot_osd(map, boot_of(1, map.find_osd(1)->store)).next);
}

TEST_F(MapCommandsTest, BootAtANewAddressMakesOne) {
  OsdBoot boot = boot_of(1, map.find_osd(1)->store);
  boot.addresses = {msgr::Address::loopback(7000)};
  accept(boot_osd(map, boot).next);
  EXPECT_EQ(map.find_osd(1)->addresses, boot.addresses);
}

TEST_F(MapCommandsTest, APoolIsMadeOverServersWhoseStoreCanKeepIt) {
  map.osds[0].kind = objecter::StoreKind::kRados;
  map.osds[1].kind = objecter::StoreKind::kFile;
  const json rados = {{"prefix", "pool create"},
                      {"pool", "r"},
                      {"store", "rados"},
                      {"rados_pool", "lunar"},
                      {"osds", {0, 1}}};
  EXPECT_NE(refusal(rados, OsdErrc::kInvalid).find("osd.1 has osd_objectstore = file"),
            std::string::npos);
  const json files = {{"prefix", "pool create"}, {"pool", "f"}};
  EXPECT_NE(refusal(files, OsdErrc::kInvalid).find("osd.0 has osd_objectstore = rados"),
            std::string::npos);
  // osd.2 is of a release that has not said it.
  run({{"prefix", "pool create"},
       {"pool", "r"},
       {"store", "rados"},
       {"rados_pool", "lunar"},
       {"osds", {0, 2}}});
  run({{"prefix", "pool create"}, {"pool", "f"}, {"osds", {1, 2}}});
  EXPECT_EQ(run({{"prefix", "osd tree"}})["nodes"][1]["objectstore"], "file");
}

}  // namespace
}  // namespace lunar::osd
