// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/verifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace lunar::iscsi_load {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kNumBlocks = 100'000;

class VerifierTest : public ::testing::Test {
 protected:
  static constexpr uint32_t kBlock = 512;

  std::vector<std::byte> blocks(BlockRange range, Content content) {
    std::vector<std::byte> bytes(range.num_blocks * kBlock);
    verifier_.pattern().fill(range.lba, content, bytes);
    return bytes;
  }
  // What a read of the range says if every block holds that content; empty if nothing is wrong.
  std::string check(BlockRange range, Content content) {
    auto mismatch = verifier_.check_read(range, blocks(range, content));
    return mismatch ? mismatch->to_string() : "";
  }

  Verifier verifier_{Pattern(1, kBlock), kNumBlocks, kZeroes};
};

TEST_F(VerifierTest, FreshLunReadsZeroes) {
  EXPECT_EQ(check({0, 16}, kZeroes), "");
  EXPECT_EQ(check({5, 1}, 3), "lba 5: expected zeroes, got generation 3 of lba 5");
}

TEST_F(VerifierTest, LatestWriteWins) {
  verifier_.wrote({10, 10}, 1);
  verifier_.wrote({12, 2}, 2);
  EXPECT_EQ(check({10, 2}, 1), "");
  EXPECT_EQ(check({12, 2}, 2), "");
  EXPECT_EQ(check({14, 6}, 1), "");
  EXPECT_EQ(check({12, 1}, 1), "lba 12: expected generation 2, got generation 1 of lba 12");
}

TEST_F(VerifierTest, LostWriteIsFound) {
  verifier_.wrote({99, 1}, 4);
  EXPECT_EQ(check({99, 1}, kZeroes), "lba 99: expected generation 4, got zeroes");
}

TEST_F(VerifierTest, MisplacedBlockIsFound) {
  verifier_.wrote({50, 2}, 4);
  auto mismatch = verifier_.check_read({50, 1}, blocks({51, 1}, 4));
  ASSERT_TRUE(mismatch);
  EXPECT_EQ(mismatch->got, "generation 4 of lba 51");
}

TEST_F(VerifierTest, FirstOfSeveralMismatchesIsReported) {
  verifier_.wrote({0, 8}, 1);
  verifier_.wrote({4, 2}, 2);
  EXPECT_THAT(check({0, 8}, 1), HasSubstr("lba 4:"));
}

TEST_F(VerifierTest, UnknownOutcomeAcceptsOldOrNewPerBlock) {
  verifier_.wrote({0, 2}, 1);
  verifier_.may_have_written({0, 2}, 2);
  EXPECT_EQ(verifier_.num_uncertain(), 2u);
  EXPECT_EQ(check({0, 1}, 1), "");
  EXPECT_EQ(check({1, 1}, 2), "");
  EXPECT_EQ(verifier_.num_uncertain(), 0u);
}

TEST_F(VerifierTest, UnknownOutcomeAcceptsNothingElse) {
  verifier_.wrote({0, 1}, 1);
  verifier_.may_have_written({0, 1}, 2);
  EXPECT_EQ(check({0, 1}, 3),
            "lba 0: expected generation 1 or generation 2, got generation 3 of lba 0");
}

TEST_F(VerifierTest, ReadDecidesAnUnknownOutcomeForGood) {
  verifier_.may_have_written({7, 1}, 5);
  EXPECT_EQ(check({7, 1}, kZeroes), "");
  EXPECT_EQ(check({7, 1}, 5), "lba 7: expected zeroes, got generation 5 of lba 7");
}

TEST_F(VerifierTest, SeveralUnknownOutcomesPileUp) {
  verifier_.may_have_written({7, 1}, 5);
  verifier_.may_have_written({7, 1}, 6);
  verifier_.may_have_written({7, 1}, 6);
  EXPECT_EQ(check({7, 1}, 9),
            "lba 7: expected zeroes or generation 5 or generation 6, "
            "got generation 9 of lba 7");
  EXPECT_EQ(check({7, 1}, 5), "");
}

TEST_F(VerifierTest, SuccessfulWriteEndsUncertainty) {
  verifier_.may_have_written({7, 1}, 5);
  verifier_.wrote({7, 1}, 6);
  EXPECT_EQ(verifier_.num_uncertain(), 0u);
  EXPECT_NE(check({7, 1}, 5), "");
}

TEST_F(VerifierTest, KnownContentsAreRefusedWhileUncertain) {
  verifier_.wrote({0, 2}, 1);
  EXPECT_THAT(verifier_.known_contents({0, 3}).value(), ElementsAre(1, 1, kZeroes));
  verifier_.may_have_written({1, 1}, 2);
  EXPECT_FALSE(verifier_.known_contents({0, 3}));
}

TEST_F(VerifierTest, UsedLunIsCheckedOnlyWhereWritten) {
  Verifier used(Pattern(1, kBlock), kNumBlocks, kAnything);
  used.wrote({1, 1}, 3);
  EXPECT_FALSE(used.check_read({0, 1}, blocks({0, 1}, 77)));
  EXPECT_TRUE(used.check_read({1, 1}, blocks({1, 1}, 77)));
  EXPECT_FALSE(used.known_contents({0, 2}));
}

TEST_F(VerifierTest, TouchedStretchesCoverAllThatWasWritten) {
  EXPECT_TRUE(verifier_.touched(1000).empty());
  verifier_.wrote({kNumBlocks - 1, 1}, 1);
  verifier_.wrote({8191, 2}, 2);
  uint64_t covered = 0;
  bool has_last = false;
  for (const BlockRange& range : verifier_.touched(1000)) {
    EXPECT_LE(range.num_blocks, 1000u);
    EXPECT_LE(range.end(), kNumBlocks);
    has_last |= range.end() == kNumBlocks;
    covered += range.num_blocks;
  }
  EXPECT_TRUE(has_last);
  EXPECT_EQ(covered, 2 * 8192 + kNumBlocks % 8192);
}

class VerifierStateTest : public VerifierTest {
 protected:
  VerifierStateTest() {
    std::string name = ::testing::TempDir() + "verifierXXXXXX";
    directory_ = ::mkdtemp(name.data());
  }
  ~VerifierStateTest() override { std::filesystem::remove_all(directory_); }

  std::string path() const { return directory_ + "/state"; }

  std::string directory_;
};

TEST_F(VerifierStateTest, HistorySurvivesSavingAndLoading) {
  verifier_.wrote({100, 50}, 3);
  verifier_.wrote({120, 2}, 4 | kSameBlock);
  verifier_.may_have_written({130, 1}, 5);
  ASSERT_EQ(verifier_.save(path()), "");
  verifier_ = Verifier(Pattern(1, kBlock), kNumBlocks, kAnything);
  ASSERT_EQ(verifier_.load(path()), "");
  EXPECT_EQ(check({100, 20}, 3), "");
  EXPECT_EQ(check({121, 1}, 4 | kSameBlock), "");
  EXPECT_EQ(check({130, 1}, 5), "");
  EXPECT_NE(check({131, 1}, 5), "");
  EXPECT_NE(check({0, 1}, 1), "");
}

TEST_F(VerifierStateTest, ForeignOrDamagedFileIsRefused) {
  EXPECT_THAT(verifier_.load(path()), HasSubstr("no history"));
  std::ofstream(path()) << "lunar-iscsi-load history 1\n1000000 0\n";
  EXPECT_THAT(verifier_.load(path()), HasSubstr("larger LUN"));
  std::ofstream(path()) << "lunar-iscsi-load history 1\n100 0\n90 20 1\n";
  EXPECT_THAT(verifier_.load(path()), HasSubstr("damaged"));
  std::ofstream(path()) << "lunar-iscsi-load history 1\n100 0\n18446744073709551615 2 1\n";
  EXPECT_THAT(verifier_.load(path()), HasSubstr("damaged"));
}

}  // namespace
}  // namespace lunar::iscsi_load
