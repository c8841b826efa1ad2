// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/crc32c.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace lunar {
namespace {

// RFC 3720, appendix B.4, and the check value of the CRC catalogue.
TEST(Crc32cTest, KnownVectors) {
  EXPECT_EQ(crc32c(0, as_const_bytes("123456789")), 0xe3069283u);
  EXPECT_EQ(crc32c(0, std::vector<std::byte>(32, std::byte{0})), 0x8a9136aau);
  EXPECT_EQ(crc32c(0, std::vector<std::byte>(32, std::byte{0xff})), 0x62a8ab43u);
  std::vector<unsigned char> rising(32);
  std::iota(rising.begin(), rising.end(), 0);
  EXPECT_EQ(crc32c(0, std::as_bytes(std::span(rising))), 0x46dd794eu);
  std::vector<unsigned char> falling(rising.rbegin(), rising.rend());
  EXPECT_EQ(crc32c(0, std::as_bytes(std::span(falling))), 0x113fdb5cu);
}

TEST(Crc32cTest, NothingLeavesTheSeed) {
  EXPECT_EQ(crc32c(0, {}), 0u);
  EXPECT_EQ(crc32c(0x1234, {}), 0x1234u);
}

TEST(Crc32cTest, ChainsAtEverySplit) {
  const ConstBytes whole = as_const_bytes("a block of an image that is cut somewhere");
  const uint32_t expected = crc32c(0, whole);
  for (std::size_t cut = 0; cut <= whole.size(); ++cut) {
    EXPECT_EQ(crc32c(crc32c(0, whole.first(cut)), whole.subspan(cut)), expected) << cut;
  }
}

}  // namespace
}  // namespace lunar
