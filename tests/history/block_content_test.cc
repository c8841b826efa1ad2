// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/history/block_content.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace lunar::test {
namespace {

class BlockContentTest : public testing::TestWithParam<std::size_t> {
 protected:
  std::vector<std::byte> made(ContentId content, uint64_t lba, uint32_t writer = 3) {
    std::vector<std::byte> block(GetParam());
    make_block(block, content, lba, writer);
    return block;
  }
};

TEST_P(BlockContentTest, KnowsABlockAgain) {
  const ParsedBlock parsed = parse_block(made(17, 5), 5);
  EXPECT_EQ(parsed.content, 17U);
  EXPECT_EQ(parsed.lba, 5U);
  EXPECT_EQ(parsed.writer, 3U);
}

TEST_P(BlockContentTest, KnowsZeroes) {
  EXPECT_EQ(parse_block(made(kZeroContent, 5), 5).content, kZeroContent);
}

TEST_P(BlockContentTest, CallsABlockOfAnotherPlaceMisplaced) {
  const ParsedBlock parsed = parse_block(made(17, 6), 5);
  EXPECT_EQ(parsed.content, kMisplacedContent);
  EXPECT_EQ(parsed.made_as, 17U);
  EXPECT_EQ(parsed.lba, 6U);
}

TEST_P(BlockContentTest, TakesABlockOfWriteSameAnywhere) {
  EXPECT_EQ(parse_block(made(17, kAnyLba), 5).content, 17U);
}

TEST_P(BlockContentTest, CallsABlockOfTwoWritesDamaged) {
  std::vector<std::byte> block = made(17, 5);
  const std::vector<std::byte> other = made(18, 5);
  std::copy(other.begin() + 256, other.end(), block.begin() + 256);
  EXPECT_EQ(parse_block(block, 5).content, kDamagedContent);
}

TEST_P(BlockContentTest, CallsAFlippedBitDamageWhereverItIs) {
  for (std::size_t at = 0; at < GetParam(); at += 61) {
    std::vector<std::byte> block = made(17, 5);
    block[at] ^= std::byte{0x10};
    EXPECT_EQ(parse_block(block, 5).content, kDamagedContent) << at;
  }
}

TEST_P(BlockContentTest, CombinesSetsOfBits) {
  std::vector<std::byte> block = made(or_content(5), 5);
  const std::vector<std::byte> other = made(or_content(8), 5);
  for (std::size_t i = 0; i < block.size(); ++i) block[i] |= other[i];
  EXPECT_EQ(parse_block(block, 5).content, or_content(13));
}

INSTANTIATE_TEST_SUITE_P(BlockSizes, BlockContentTest, testing::Values(512, 4096));

}  // namespace
}  // namespace lunar::test
