// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/types.h"

#include <gtest/gtest.h>

#include <set>

namespace lunar::objecter {
namespace {

TEST(TypesTest, EveryErrorHasAMessageOfItsOwn) {
  std::set<std::string> seen;
  for (int value = 0; value <= static_cast<int>(kLastErrc); ++value) {
    const std::error_code code = static_cast<OsdErrc>(value);
    EXPECT_TRUE(seen.insert(code.message()).second) << value << ": " << code.message();
    EXPECT_EQ(code.message().find("unknown object server"), std::string::npos) << value;
  }
  EXPECT_EQ(std::error_code(999, osd_category()).message(), "unknown object server error");
  EXPECT_STREQ(osd_category().name(), "lunar.osd");
}

TEST(TypesTest, NumbersOnTheWireNeverChange) {
  EXPECT_EQ(static_cast<int>(OsdErrc::kMiscompare), 3);
  EXPECT_EQ(static_cast<int>(OsdErrc::kStaleMap), 14);
  EXPECT_EQ(static_cast<int>(OsdErrc::kUnknownOutcome), 16);
  EXPECT_EQ(static_cast<int>(OsdErrc::kBusy), 24);
  EXPECT_EQ(static_cast<int>(OsdErrc::kWatchLost), 25);
  EXPECT_TRUE(is_known_errc(25));
  EXPECT_FALSE(is_known_errc(26));
  EXPECT_FALSE(is_known_errc(-1));
}

TEST(TypesTest, ObjectNamesAreChecked) {
  EXPECT_TRUE(is_valid_object_name("a1b2.0000000000000000"));
  EXPECT_TRUE(is_valid_object_name("lunar_directory-1"));
  EXPECT_TRUE(is_valid_object_name(std::string(ObjectId::kMaxNameBytes, 'x')));
  EXPECT_FALSE(is_valid_object_name(std::string(ObjectId::kMaxNameBytes + 1, 'x')));
  for (const char* bad : {"", "a/b", "a b", "\xc3\xa9", "a\n", "a:b"}) {
    EXPECT_FALSE(is_valid_object_name(bad)) << bad;
  }
}

TEST(TypesTest, AnyOtherCharacterThanLettersDigitsAndThreeSignsIsRefused) {
  for (int c = 0; c < 256; ++c) {
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    const bool is_other = (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
    EXPECT_EQ(is_valid_object_name(std::string(3, static_cast<char>(c))), is_letter || is_other)
        << c;
  }
}

}  // namespace
}  // namespace lunar::objecter
