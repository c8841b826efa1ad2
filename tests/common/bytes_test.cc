// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/bytes.h"

#include <gtest/gtest.h>

namespace lunar {
namespace {

enum class Colour : uint16_t { kRed = 0x0102 };

TEST(BytesTest, WhatIsWrittenIsReadBack) {
  std::vector<std::byte> buffer;
  ByteWriter out(buffer);
  out.put(uint8_t{7});
  out.put(int32_t{-2});
  out.put(uint64_t{0x0123456789abcdef});
  out.put(true);
  out.put(Colour::kRed);
  out.put_string("image");

  ByteReader in(buffer);
  EXPECT_EQ(in.get<uint8_t>(), 7);
  EXPECT_EQ(in.get<int32_t>(), -2);
  EXPECT_EQ(in.get<uint64_t>(), 0x0123456789abcdefu);
  EXPECT_TRUE(in.get<bool>());
  EXPECT_EQ(in.get<Colour>(), Colour::kRed);
  EXPECT_EQ(in.get_string(5), "image");
  EXPECT_TRUE(in.is_finished());
}

TEST(BytesTest, IntegersAreLittleEndian) {
  std::vector<std::byte> buffer;
  ByteWriter(buffer).put(uint32_t{0x01020304});
  EXPECT_EQ(buffer, (std::vector{std::byte{4}, std::byte{3}, std::byte{2}, std::byte{1}}));
}

TEST(BytesTest, SeveralValuesAreWrittenAsOneAfterTheOther) {
  std::vector<std::byte> together;
  ByteWriter(together).put(uint16_t{1}, int32_t{-2}, true, Colour::kRed);
  std::vector<std::byte> apart;
  ByteWriter out(apart);
  out.put(uint16_t{1});
  out.put(int32_t{-2});
  out.put(true);
  out.put(Colour::kRed);
  EXPECT_EQ(together, apart);
  EXPECT_EQ(together.size(), 9u);
}

TEST(BytesTest, ReadingPastTheEndGivesZeroesForGood) {
  const std::vector<std::byte> buffer(3, std::byte{0xff});
  ByteReader in(buffer);
  EXPECT_EQ(in.get<uint32_t>(), 0u);
  EXPECT_FALSE(in.ok());
  EXPECT_EQ(in.get<uint8_t>(), 0u);
  EXPECT_FALSE(in.is_finished());
}

TEST(BytesTest, AStringAboveItsLimitIsRefused) {
  std::vector<std::byte> buffer;
  ByteWriter(buffer).put_string("toolong");
  ByteReader in(buffer);
  EXPECT_EQ(in.get_string(6), "");
  EXPECT_FALSE(in.ok());
}

TEST(BytesTest, ACountThatCannotFitIsImplausible) {
  const std::vector<std::byte> buffer(64);
  ByteReader in(buffer);
  EXPECT_TRUE(in.can_hold(8, 8));
  EXPECT_FALSE(in.can_hold(9, 8));
  EXPECT_FALSE(in.ok());
}

}  // namespace
}  // namespace lunar
