// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace lunar {
namespace {

using Json = nlohmann::json;

constexpr JsonBounds kBounds{64 << 20, 16, 8};

std::string nested(std::size_t depth, const std::string& opens, const std::string& closes) {
  std::string text;
  for (std::size_t i = 0; i < depth; ++i) text += opens;
  text += "1";
  for (std::size_t i = 0; i < depth; ++i) text += closes;
  return text;
}

std::string refusal(std::string_view text, const JsonBounds& bounds = kBounds) {
  const auto json = parse_json<Json>(text, bounds);
  return json ? "accepted" : json.error().message;
}

TEST(JsonTest, ReadsWhatIsWithinTheBounds) {
  const auto json = parse_json<Json>(R"({"a": [1, "}{][,", "\"{["], "b": {}})", kBounds);
  ASSERT_TRUE(json);
  EXPECT_EQ((*json)["a"].size(), 3u);
  EXPECT_EQ(parse_json<nlohmann::ordered_json>("[]", kBounds)->size(), 0u);
}

TEST(JsonTest, RefusesWhatIsNestedTooDeep) {
  EXPECT_EQ(refusal(nested(16, "[", "]")), "accepted");
  EXPECT_EQ(refusal(nested(17, "[", "]")), "is nested more than 16 deep");
  EXPECT_EQ(refusal(nested(1'000'000, "[", "]")), "is nested more than 16 deep");
  EXPECT_EQ(refusal(nested(1'000'000, "{\"a\":", "}")), "is nested more than 16 deep");
  EXPECT_EQ(refusal(std::string(1'000'000, '[')), "is nested more than 16 deep");
}

TEST(JsonTest, RefusesATextThatIsTooLong) {
  EXPECT_EQ(refusal("[1234567]", {9}), "accepted");
  EXPECT_EQ(refusal("[12345678]", {9}), "has 10 bytes, and at most 9 are read");
}

TEST(JsonTest, RefusesAnObjectOfTooManyMembers) {
  std::string text = "{\"0\": 0";
  for (int i = 1; i < 8; ++i) text += ",\"" + std::to_string(i) + "\": [1,2,3,4,5,6,7,8,9,10]";
  EXPECT_EQ(refusal(text + "}"), "accepted");
  EXPECT_EQ(refusal(text + ",\"8\": 1}"), "has an object of more than 8 members");
}

TEST(JsonTest, RefusesWhatIsNoJson) {
  for (const char* text :
       {"", "]", "}}}}", "{\"a\"", "\"", "\"\\", "[1,]", "nonsense", "[\"\xff\"]"})
    EXPECT_EQ(refusal(text), "is not JSON") << text;
}

TEST(JsonTest, AnAnswerThatIsNoJsonIsNull) {
  EXPECT_EQ(parse_json_or_null<Json>("{\"a\": 1}", kBounds), Json({{"a", 1}}));
  EXPECT_TRUE(parse_json_or_null<Json>("nonsense", kBounds).is_null());
  EXPECT_TRUE(parse_json_or_null<Json>("[12345678]", {9}).is_null());
}

TEST(JsonTest, AListThatIsNotThereIsEmpty) {
  const Json json = {{"list", {1, 2}}, {"number", 3}};
  EXPECT_EQ(json_list_in(json, "list").size(), 2u);
  EXPECT_TRUE(json_list_in(json, "number").empty());
  EXPECT_TRUE(json_list_in(json, "other").empty());
  EXPECT_TRUE(json_list_in(Json(3), "list").empty());
}

TEST(JsonTest, TextHasAReplacementForWhatIsNoUtf8) {
  EXPECT_EQ(json_text({{"a", 1}}), "{\n  \"a\": 1\n}");
  EXPECT_EQ(json_text("\xff"), "\"\xef\xbf\xbd\"");
}

TEST(JsonTest, PrintsBoundedPlainText) {
  EXPECT_EQ(printable_text("rbd"), "rbd");
  EXPECT_EQ(printable_text("a\x1b[31m\n\xc3\xa9"), "a?[31m???");
  EXPECT_EQ(printable_text(std::string(81, 'x')), std::string(80, 'x') + "...");
  EXPECT_EQ(printable_json(Json("a\nb")), "\"a?b\"");
  EXPECT_EQ(printable_json(Json(12)), "12");
  EXPECT_EQ(printable_json(Json::array({1, 2})), "an array");
  EXPECT_EQ(printable_json(Json({{"a", 1}})), "an object");
}

}  // namespace
}  // namespace lunar
