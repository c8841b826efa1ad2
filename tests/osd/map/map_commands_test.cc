// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_commands.h"

#include "tests/osd/map/map_commands_fixture.h"

namespace lunar::osd {
namespace {

TEST_F(MapCommandsTest, StatusCounts) {
  const json status = run({{"prefix", "status"}});
  EXPECT_EQ(status["num_osds"], 3);
  EXPECT_EQ(status["num_up_osds"], 3);
  EXPECT_EQ(status["fsid"], map.fsid.to_string());
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

}  // namespace
}  // namespace lunar::osd
