// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/text_table.h"

#include <gtest/gtest.h>

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

TEST(TextTableTest, AlignsNumbersToTheRight) {
  TextTable table({"NAME", ">SIZE", "STATE"});
  table.add({"disk1", "1 GiB", "ready"});
  table.add({"a", "512 MiB", ""});
  EXPECT_EQ(table.text(),
            "NAME      SIZE  STATE\n"
            "disk1    1 GiB  ready\n"
            "a      512 MiB\n");
}

TEST(PlainTextTest, ShowsObjectsInAListAsATable) {
  const Json json = {
      {"epoch", 5},
      {"nodes",
       {{{"id", 0}, {"up", true}, {"addresses", {"a:1", "b:2"}}},
        {{"id", 10}, {"up", false}, {"pools", {{{"pool", "rbd"}, {"weight", 1.0}}}}}}}};
  EXPECT_EQ(plain_text(json),
            "epoch          5\n"
            "\n"
            "nodes\n"
            "ID  UP   ADDRESSES  POOLS\n"
            " 0  yes  a:1, b:2\n"
            "10  no              rbd 1.0\n");
}

TEST(PlainTextTest, ShowsAListLineByLine) {
  EXPECT_EQ(plain_text(Json::array({"rbd", "other"})), "rbd\nother\n");
  EXPECT_EQ(plain_text(Json::array()), "");
}

TEST(PlainTextTest, ShowsNothingThatATerminalWouldObey) {
  EXPECT_EQ(plain_text(Json::array({"a\x1b[2J"})), "a?[2J\n");
}

TEST(WithTextIdsTest, MakesTextOfIdentitiesAndOfWhatADoubleCannotHold) {
  const Json json = {{"nonce", 7}, {"size", uint64_t{1} << 53}, {"list", {UINT64_MAX, 1}}};
  EXPECT_EQ(with_text_ids(json).dump(),
            R"({"nonce":"7","size":9007199254740992,"list":["18446744073709551615",1]})");
}

}  // namespace
}  // namespace lunar::tools
