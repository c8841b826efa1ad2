// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/pool_commands.h"

#include <fmt/core.h>

#include "objecter/protocol/placement.h"
#include "tests/osd/map/map_commands_fixture.h"

namespace lunar::osd {
namespace {

class PoolCommandsTest : public MapCommandsTest {};

TEST_F(PoolCommandsTest, PoolCreateTakesWhatAUserTypes) {
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

TEST_F(PoolCommandsTest, PoolCreateFillsTheMapAndIsThenRefused) {
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

TEST_F(PoolCommandsTest, OsdMapIsWhereOpsGo) {
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

TEST_F(PoolCommandsTest, OsdMapRefusals) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  refusal({{"prefix", "osd map"}, {"pool", "q"}, {"object", "x"}}, OsdErrc::kNoSuchPool);
  for (const char* name : {"", "a/b", "a b"})
    EXPECT_NE(refusal({{"prefix", "osd map"}, {"pool", "p"}, {"object", name}}, OsdErrc::kInvalid)
                  .find("\"object\""),
              std::string::npos);
  refusal({{"prefix", "osd map"}, {"pool", "p"}}, OsdErrc::kInvalid);
}

TEST_F(PoolCommandsTest, PoolCreateRefusalsNameTheArgument) {
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

TEST_F(PoolCommandsTest, PoolsInRadosHaveAPlaceEachAndAreAskedFor) {
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

TEST_F(PoolCommandsTest, PoolRmAsksToMeanItAndNeverReusesAnId) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const objecter::PoolId id = map.find_pool(std::string_view("p"))->id;
  refusal({{"prefix", "pool rm"}, {"pool", "p"}}, OsdErrc::kNotPermitted);
  run({{"prefix", "pool rm"}, {"pool", "p"}, {"yes_i_really_really_mean_it", true}});
  refusal({{"prefix", "pool rm"}, {"pool", "p"}}, OsdErrc::kNoSuchPool);
  run({{"prefix", "pool create"}, {"pool", "p"}});
  EXPECT_GT(map.find_pool(std::string_view("p"))->id, id);
}

TEST_F(PoolCommandsTest, APoolIsMadeOverServersWhoseStoreCanKeepIt) {
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
