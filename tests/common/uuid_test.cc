// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/uuid.h"

#include <gtest/gtest.h>

namespace lunar {
namespace {

constexpr const char* kText = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

TEST(UuidTest, PrintsWhatItParsed) {
  const auto uuid = Uuid::parse(kText);
  ASSERT_TRUE(uuid);
  EXPECT_EQ(uuid->to_string(), kText);
  EXPECT_EQ(uuid->bytes[0], std::byte{0x0f});
  EXPECT_EQ(uuid->bytes[15], std::byte{0xf0});
}

TEST(UuidTest, AcceptsUpperCase) {
  EXPECT_EQ(Uuid::parse("0F1E2D3C-4B5A-6978-8796-A5B4C3D2E1F0"), Uuid::parse(kText));
}

TEST(UuidTest, RefusesAnyOtherForm) {
  for (const char* text :
       {"", "0f1e2d3c", "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
        "{0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0}", "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1fg",
        "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f00", "0f1e2d3c-4b5a-6978-8796a-5b4c3d2e1f0"}) {
    EXPECT_FALSE(Uuid::parse(text)) << text;
  }
}

TEST(UuidTest, RandomOnesDifferAndAreVersion4) {
  const Uuid a = Uuid::random();
  EXPECT_NE(a, Uuid::random());
  EXPECT_EQ(a.bytes[6] >> 4, std::byte{4});
  EXPECT_EQ(a.bytes[8] >> 6, std::byte{2});
  EXPECT_FALSE(a.is_nil());
  EXPECT_TRUE(Uuid{}.is_nil());
  EXPECT_EQ(Uuid::from_bytes(a.bytes), a);
}

}  // namespace
}  // namespace lunar
