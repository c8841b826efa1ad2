// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/osd_commands.h"

#include <set>

#include "objecter/protocol/placement.h"
#include "tests/osd/map/map_commands_fixture.h"

namespace lunar::osd {
namespace {

class OsdCommandsTest : public MapCommandsTest {};

TEST_F(OsdCommandsTest, OsdLsAndTree) {
  EXPECT_EQ(run({{"prefix", "osd ls"}}), json({0, 1, 2}));
  run({{"prefix", "pool create"}, {"pool", "p"}});
  const json tree = run({{"prefix", "osd tree"}});
  EXPECT_EQ(tree["nodes"].size(), 3u);
  EXPECT_EQ(tree["nodes"][1]["pools"][0]["pool"], "p");
}

TEST_F(OsdCommandsTest, OsdDownAndUnknownOsd) {
  run({{"prefix", "osd down"}, {"osd", "1"}});
  EXPECT_FALSE(map.find_osd(1)->up);
  EXPECT_NE(refusal({{"prefix", "osd down"}, {"osd", 9}}, OsdErrc::kInvalid).find("osd.9"),
            std::string::npos);
}

// Three servers in RADOS, and a pool.
class RadosOsdCommandsTest : public MapCommandsTest {
 protected:
  RadosOsdCommandsTest() {
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

TEST_F(RadosOsdCommandsTest, AServerThatIsOutHasNoPgUntilItIsInAgain) {
  const json out = run({{"prefix", "osd out"}, {"osd", "1"}});
  EXPECT_EQ(out["had"], json::parse(R"([{"pool": "p", "weight": 2.0}])"));
  EXPECT_EQ(servers(), (std::set{0, 2}));
  EXPECT_TRUE(map.find_osd(1)->up);
  run({{"prefix", "osd in"}, {"osd", "1"}, {"weight", "2"}});
  EXPECT_EQ(weight(1), 2u << 16);
  EXPECT_EQ(servers(), (std::set{0, 1, 2}));
}

TEST_F(RadosOsdCommandsTest, OsdOutAndInChangeNothingTheSecondTime) {
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

TEST_F(RadosOsdCommandsTest, NobodyGoesOutWithoutAnHeirThatIsUp) {
  run({{"prefix", "osd out"}, {"osd", 0}});
  run({{"prefix", "osd down"}, {"osd", 2}});
  EXPECT_NE(refusal({{"prefix", "osd out"}, {"osd", 1}}, OsdErrc::kBusy).find("pool p"),
            std::string::npos);
  run({{"prefix", "osd in"}, {"osd", 0}});
  run({{"prefix", "osd out"}, {"osd", 1}});
}

// Its PGs wait for it, since it could not be fenced.
TEST_F(RadosOsdCommandsTest, WhoMayRunUnfencedGoesOutInSoManyWords) {
  mark_down(map.osds[1]);
  map.osds[1].kind.reset();
  EXPECT_NE(refusal({{"prefix", "osd out"}, {"osd", 1}}, OsdErrc::kNotPermitted).find("has ended"),
            std::string::npos);
  run({{"prefix", "osd out"}, {"osd", 1}, {"yes_i_really_mean_it", true}});
  EXPECT_EQ(weight(1), 0u);
}

TEST_F(RadosOsdCommandsTest, OsdOutAndInRefusals) {
  refusal({{"prefix", "osd out"}, {"osd", 9}}, OsdErrc::kInvalid);
  refusal({{"prefix", "osd in"}, {"osd", 9}}, OsdErrc::kInvalid);
  for (const json& weight : {json(0), json(-1), json(1e-6), json(257), json("many")})
    EXPECT_NE(refusal({{"prefix", "osd in"}, {"osd", 1}, {"weight", weight}}, OsdErrc::kInvalid)
                  .find("\"weight\""),
              std::string::npos);
}

TEST_F(OsdCommandsTest, ObjectsOfAHostStayOnItsDisks) {
  run({{"prefix", "pool create"}, {"pool", "p"}});
  for (const char* prefix : {"osd out", "osd in"})
    EXPECT_NE(refusal({{"prefix", prefix}, {"osd", 1}}, OsdErrc::kInvalid).find("RADOS"),
              std::string::npos);
}

TEST_F(OsdCommandsTest, OsdRmRefusesWhatIsUpOrHoldsAPool) {
  refusal({{"prefix", "osd rm"}, {"osd", 2}}, OsdErrc::kBusy);
  run({{"prefix", "pool create"}, {"pool", "p"}});
  run({{"prefix", "osd down"}, {"osd", 2}});
  EXPECT_NE(refusal({{"prefix", "osd rm"}, {"osd", 2}}, OsdErrc::kBusy).find("pool p"),
            std::string::npos);
  run({{"prefix", "pool rm"}, {"pool", "p"}, {"yes_i_really_really_mean_it", true}});
  run({{"prefix", "osd rm"}, {"osd", 2}});
  EXPECT_EQ(map.find_osd(2), nullptr);
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

}  // namespace
}  // namespace lunar::osd
