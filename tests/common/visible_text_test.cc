// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/visible_text.h"

#include <gtest/gtest.h>

namespace lunar {
namespace {

TEST(VisibleTextTest, WhatPeopleWriteStaysAsItIs) {
  for (const char* text : {"", "rbd/disk1\n", "a\tb", "\xc3\xa9t\xc3\xa9", "\xe2\x82\xac",
                           "\xf0\x9f\x8c\x99", R"({"name": "\u001b[2J"})"})
    EXPECT_EQ(visible_text(text), text);
}

TEST(VisibleTextTest, ControlCharactersAreSeenAndDoNothing) {
  EXPECT_EQ(visible_text("\x1b[2J\x1b]0;title\x07"), "^[[2J^[]0;title^G");
  EXPECT_EQ(visible_text("all is well\rnothing is"), "all is well^Mnothing is");
  EXPECT_EQ(visible_text("a\b\x7f"), "a^H^?");
  EXPECT_EQ(visible_text(std::string_view("a\0b", 3)), "a^@b");
}

TEST(VisibleTextTest, SoAreTheControlsOfUnicode) {
  EXPECT_EQ(visible_text("\xc2\x9b"
                         "2J"),
            "?2J")
      << "CSI in one character";
  EXPECT_EQ(visible_text("\xe2\x80\xae"
                         "cba"),
            "?cba")
      << "from right to left";
  EXPECT_EQ(visible_text("\xe2\x81\xa6x"), "?x");
}

TEST(VisibleTextTest, WhatIsNoUtf8IsMarked) {
  EXPECT_EQ(visible_text("\x9b"
                         "2J"),
            "?2J")
      << "CSI of eight bits";
  EXPECT_EQ(visible_text("\xc3"), "?");
  EXPECT_EQ(visible_text("\xc0\x9b"), "??") << "a longer form than needed";
  EXPECT_EQ(visible_text("\xed\xa0\x80"), "???") << "a surrogate";
  EXPECT_EQ(visible_text("\xf4\x90\x80\x80"), "????") << "above U+10FFFF";
  EXPECT_EQ(visible_text("\xe2\x82x"), "??x");
}

TEST(VisibleTextTest, NothingOfWhatIsPrintedReachesTheTerminalUnseen) {
  char* text = nullptr;
  std::size_t bytes = 0;
  std::FILE* const to = ::open_memstream(&text, &bytes);
  print_visible(to, "lunar: %s %d%%\n", "osd.0 says \x1b[31m", 7);
  std::fclose(to);
  EXPECT_EQ(std::string(text, bytes), "lunar: osd.0 says ^[[31m 7%\n");
  std::free(text);
}

}  // namespace
}  // namespace lunar
