// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/parse/ini.h"

#include <gtest/gtest.h>

namespace lunar {
namespace {

std::vector<IniEntry> parsed(std::string_view text) {
  auto entries = parse_ini(text, "test.conf");
  EXPECT_TRUE(entries) << entries.error().message;
  return entries.value_or(std::vector<IniEntry>{});
}

std::string value_of(std::string_view text) {
  const auto entries = parsed(text);
  return entries.size() == 1 ? entries[0].value
                             : "(" + std::to_string(entries.size()) + " entries)";
}

std::string error_of(std::string_view text) {
  const auto entries = parse_ini(text, "test.conf");
  return entries ? "" : entries.error().message;
}

TEST(IniTest, SectionsNamesAndLines) {
  const auto entries = parsed("a = 1\n[osd.0]\n\n  b c = 2  \n[ client ]\r\nd=3\r\n");
  ASSERT_EQ(entries.size(), 3u);
  EXPECT_EQ(entries[0].section, "global");
  EXPECT_EQ(entries[1].section, "osd.0");
  EXPECT_EQ(entries[1].name, "b c");
  EXPECT_EQ(entries[1].value, "2");
  EXPECT_EQ(entries[1].line, 4);
  EXPECT_EQ(entries[2].section, "client");
  EXPECT_EQ(entries[2].value, "3");
}

TEST(IniTest, CommentsEndALine) {
  EXPECT_EQ(value_of("; all\n# of it\na = 1 ; rest\n"), "1");
  EXPECT_EQ(value_of("a = b#c"), "b");
  EXPECT_EQ(value_of("a = b\\#c"), "b#c");
}

TEST(IniTest, QuotesKeepSpacesAndCommentSigns) {
  EXPECT_EQ(value_of("a = \"  x ; y  \""), "  x ; y  ");
  EXPECT_EQ(value_of("a = 'it # is'  # comment"), "it # is");
  EXPECT_EQ(value_of("a = \"say \\\"hi\\\"\""), "say \"hi\"");
  EXPECT_EQ(value_of("a = don't"), "don't");
}

TEST(IniTest, ABackslashContinuesALine) {
  const auto entries = parsed("a = 1,\\\n2,\\\r\n3\nb = 4\n");
  ASSERT_EQ(entries.size(), 2u);
  EXPECT_EQ(entries[0].value, "1,2,3");
  EXPECT_EQ(entries[0].line, 1);
  EXPECT_EQ(entries[1].line, 4);
}

TEST(IniTest, AnEmptyValueIsAValue) { EXPECT_EQ(value_of("a ="), ""); }

TEST(IniTest, AByteOrderMarkIsSkipped) {
  EXPECT_EQ(value_of("\xef\xbb\xbf"
                     "a = 1"),
            "1");
}

TEST(IniTest, ErrorsNameTheLineAndNeverTheValue) {
  EXPECT_EQ(error_of("a = 1\nnonsense secret\n"), "test.conf:2: expected 'name = value'");
  EXPECT_EQ(error_of("[open\n"), "test.conf:1: a section needs its closing ]");
  EXPECT_EQ(error_of("[ ]\n"), "test.conf:1: a section without a name");
  EXPECT_EQ(error_of("= secret\n"), "test.conf:1: a value without a name before it");
  EXPECT_EQ(error_of("\na = \"secret\n"), "test.conf:2: a quotation mark that is not closed");
  EXPECT_EQ(error_of("a = 'x' secret\n"), "test.conf:1: text after the closing quotation mark");
  EXPECT_EQ(error_of(std::string_view("a = \0b", 6)),
            "test.conf:1: a zero byte; is this a text file?");
}

TEST(IniTest, AnyTruncationOfAFileIsParsedOrRefused) {
  const std::string text =
      "[global]\nkey = \"a\\\"b\" ; c\nlong = 1\\\n2\n'x' = \\#\n[osd.0]\nz='q'\n";
  for (std::size_t length = 0; length <= text.size(); ++length) {
    const auto entries = parse_ini(std::string_view(text).substr(0, length), "cut");
    if (entries) {
      EXPECT_LE(entries->size(), 4u);
    } else {
      EXPECT_EQ(entries.error().message.rfind("cut:", 0), 0u);
    }
  }
}

}  // namespace
}  // namespace lunar
