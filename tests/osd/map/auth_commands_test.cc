// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/auth_commands.h"

#include <gtest/gtest.h>

#include "osd/map/map_commands.h"

namespace lunar::osd {
namespace {

using objecter::OsdErrc;
using objecter::OsdMap;

class AuthCommandsTest : public ::testing::Test {
 protected:
  AuthCommandsTest() : map(make_first_map(Uuid::random(), 0, Uuid::random())) {
    map.osds[0].addresses = {msgr::Address::loopback(6800)};
    map.osds[0].incarnation = 1;
    run({{"prefix", "pool create"}, {"pool", "rbd"}});
  }
  // A command that must succeed; its change is taken over.
  CommandJson run(const CommandJson& request) {
    CommandChange change = run_map_command(map, request.dump());
    EXPECT_EQ(change.reply.error, OsdErrc::kOk) << change.reply.text;
    if (change.next) {
      change.next->epoch = map.epoch + 1;
      map = std::move(*change.next);
      const auto valid = objecter::validate(map);
      EXPECT_TRUE(valid) << valid.error().message;
    }
    return CommandJson::parse(change.reply.text, nullptr, false);
  }
  std::string refusal(const CommandJson& request, OsdErrc error) {
    CommandChange change = run_map_command(map, request.dump());
    EXPECT_EQ(change.reply.error, error) << change.reply.text;
    EXPECT_FALSE(change.next);
    return change.reply.text;
  }
  CommandJson caps(const std::string& entity, const std::string& text) {
    return {{"prefix", "auth caps"}, {"entity", entity}, {"caps", text}};
  }
  OsdMap map;
};

TEST_F(AuthCommandsTest, GivesShowsReplacesAndTakesAway) {
  EXPECT_EQ(run(caps("client.b", "profile gateway pool=rbd"))["caps"], "allow rw pool=rbd");
  run(caps("client.a", "allow r"));
  const CommandJson all = run({{"prefix", "auth ls"}});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0]["entity"], "client.a");
  run(caps("client.b", "allow r pool=rbd"));
  EXPECT_EQ(run({{"prefix", "auth get"}, {"entity", "client.b"}})["caps"], "allow r pool=rbd");
  run({{"prefix", "auth rm"}, {"entity", "client.b"}});
  EXPECT_EQ(map.entities.size(), 1u);
  for (const char* prefix : {"auth get", "auth rm"})
    EXPECT_NE(refusal({{"prefix", prefix}, {"entity", "client.b"}}, OsdErrc::kNoSuchObject)
                  .find("client.b"),
              std::string::npos);
}

TEST_F(AuthCommandsTest, NothingIsAllowedToo) {
  EXPECT_EQ(run(caps("client.a", ""))["caps"], "");
  EXPECT_NE(map.find_entity("client.a"), nullptr);
}

TEST_F(AuthCommandsTest, RefusesWhatWouldGrantNothing) {
  EXPECT_NE(refusal(caps("client.a", "allow r pool=rdb"), OsdErrc::kNoSuchPool).find("'rdb'"),
            std::string::npos);
  EXPECT_NE(refusal(caps("client.a", "allow r pool=rbd image=i"), OsdErrc::kInvalid).find("rbd/i"),
            std::string::npos);
  for (const char* entity : {"", "client.", "osd.0", "gw1"})
    EXPECT_NE(refusal(caps(entity, "allow r"), OsdErrc::kInvalid).find("client.ID"),
              std::string::npos)
        << entity;
  refusal(caps("client.a", "allow everything"), OsdErrc::kInvalid);
}

TEST_F(AuthCommandsTest, ANewClusterEnforcesAndAnOldOneOnlyWhenTold) {
  EXPECT_TRUE(map.enforces_caps);
  EXPECT_EQ(run({{"prefix", "status"}})["capabilities"], "enforced");
  map.enforces_caps = false;
  EXPECT_EQ(run({{"prefix", "status"}})["capabilities"], "not enforced");
  run(caps("client.a", "allow r"));
  EXPECT_FALSE(map.enforces_caps);
  const CommandJson enforce = {{"prefix", "auth enforce"}};
  EXPECT_NE(refusal(enforce, OsdErrc::kNotPermitted).find("--yes-i-really-mean-it"),
            std::string::npos);
  run({{"prefix", "auth enforce"}, {"yes_i_really_mean_it", true}});
  EXPECT_TRUE(map.enforces_caps);
  EXPECT_EQ(map.entities.size(), 1u);
}

// A backup from before the capabilities must neither open the cluster nor forget who may do what.
TEST_F(AuthCommandsTest, RestoringAnOldMapKeepsThem) {
  OsdMap old = map;
  old.enforces_caps = false;
  const std::string backup = objecter::to_json(old);
  run(caps("client.a", "allow r"));
  run({{"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}});
  EXPECT_TRUE(map.enforces_caps);
  EXPECT_NE(map.find_entity("client.a"), nullptr);
}

TEST_F(AuthCommandsTest, RestoringGivesNothingBackThatWasTakenSince) {
  run(caps("client.a", "allow r"));
  run(caps("client.stolen", "allow *"));
  const std::string backup = objecter::to_json(map);
  run({{"prefix", "auth rm"}, {"entity", "client.stolen"}});
  const CommandJson restore = {
      {"prefix", "map restore"}, {"map", backup}, {"yes_i_really_mean_it", true}};
  run(restore);
  EXPECT_EQ(map.find_entity("client.stolen"), nullptr);
  map.entities.clear();  // made anew: the backup is all that there is
  run(restore);
  EXPECT_NE(map.find_entity("client.a"), nullptr);
}

TEST_F(AuthCommandsTest, OnlyAdminsHearOfEntities) {
  for (const char* prefix :
       {"auth ls", "auth get", "auth caps", "auth rm", "auth enforce", "osd dump", "map dump",
        "map backup", "map restore", "pool create", "pool rm", "osd down", "osd out", "osd in",
        "osd rm", "osd replace", "nonsense", ""})
    EXPECT_NE(kind_of_map_command(prefix), MapCommandKind::kShows) << prefix;
  for (const char* prefix : {"status", "osd ls", "osd tree", "osd map", "pool ls", "pool get"})
    EXPECT_EQ(kind_of_map_command(prefix), MapCommandKind::kShows) << prefix;
}

}  // namespace
}  // namespace lunar::osd
