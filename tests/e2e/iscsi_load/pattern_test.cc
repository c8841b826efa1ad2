// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/pattern.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace lunar::iscsi_load {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class PatternTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kBlock = 512;

  std::vector<std::byte> made(uint64_t lba, Content content, size_t num_blocks = 1) {
    std::vector<std::byte> bytes(num_blocks * kBlock, std::byte{0xee});
    pattern_.fill(lba, content, bytes);
    return bytes;
  }

  Pattern pattern_{42, kBlock};
};

TEST_F(PatternTest, BlockMatchesOnlyItsOwnPlaceAndGeneration) {
  auto block = made(1000, 7);
  EXPECT_TRUE(pattern_.matches(1000, 7, block));
  EXPECT_FALSE(pattern_.matches(1001, 7, block));
  EXPECT_FALSE(pattern_.matches(1000, 8, block));
  EXPECT_FALSE(pattern_.matches(1000, 7 | kSameBlock, block));
  EXPECT_FALSE(pattern_.matches(1000, kZeroes, block));
  EXPECT_FALSE(Pattern(43, kBlock).matches(1000, 7, block));
}

TEST_F(PatternTest, EveryByteCounts) {
  auto block = made(5, 3);
  for (size_t i = 0; i < kBlock; ++i) {
    auto damaged = block;
    damaged[i] ^= std::byte{1};
    EXPECT_FALSE(pattern_.matches(5, 3, damaged)) << "byte " << i;
  }
}

TEST_F(PatternTest, WriteSameBlockIsTheSameEverywhere) {
  Content content = 9 | kSameBlock;
  EXPECT_EQ(made(1, content), made(77, content));
  EXPECT_TRUE(pattern_.matches(77, content, made(1, content)));
}

TEST_F(PatternTest, ConsecutiveBlocksHoldConsecutiveLbas) {
  auto blocks = made(10, 4, 3);
  for (uint64_t i = 0; i < 3; ++i) {
    EXPECT_TRUE(pattern_.matches(10 + i, 4, std::span(blocks).subspan(i * kBlock, kBlock)));
  }
}

TEST_F(PatternTest, AnythingMatchesAnything) {
  EXPECT_TRUE(pattern_.matches(1, kAnything, made(2, 3)));
}

TEST_F(PatternTest, DescriptionTellsWhatABlockIs) {
  EXPECT_EQ(pattern_.describe(1, made(1, kZeroes)), "zeroes");
  EXPECT_EQ(pattern_.describe(1, made(12, 7)), "generation 7 of lba 12");
  EXPECT_EQ(pattern_.describe(1, made(1, 7 | kSameBlock)), "generation 7 of write same");
  auto torn = made(12, 7);
  auto newer = made(12, 8);
  std::copy(newer.begin() + 256, newer.end(), torn.begin() + 256);
  EXPECT_THAT(pattern_.describe(12, torn), StartsWith("torn: begins with generation 7"));
  std::vector<std::byte> foreign(kBlock, std::byte{0xab});
  EXPECT_THAT(pattern_.describe(1, foreign), HasSubstr("not ours: abababab"));
  std::vector<std::byte> other_seed(kBlock);
  Pattern(1, kBlock).fill(12, 7, other_seed);
  EXPECT_THAT(pattern_.describe(12, other_seed), HasSubstr("another seed's"));
}

}  // namespace
}  // namespace lunar::iscsi_load
