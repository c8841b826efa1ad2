// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/scsi/cdb.h"

#include <gtest/gtest.h>

#include <random>

namespace lunar::bstore_plugin {
namespace {

std::vector<std::byte> bytes(std::initializer_list<int> values, std::size_t size) {
  std::vector<std::byte> out(size);
  std::size_t at = 0;
  for (const int value : values) out[at++] = static_cast<std::byte>(value);
  return out;
}

TEST(CdbTest, Read6CountsZeroAs256Blocks) {
  const auto cdb = parse_cdb(bytes({0x08, 0x1f, 0xff, 0xfe, 0x00, 0x00}, 6));
  ASSERT_TRUE(cdb);
  EXPECT_EQ(cdb->kind, CommandKind::kRead);
  EXPECT_EQ(cdb->lba, 0x1ffffeu);
  EXPECT_EQ(cdb->num_blocks, 256u);
}

TEST(CdbTest, TestUnitReadyNamesNoBlocks) {
  const auto cdb = parse_cdb(bytes({0x00, 0xff, 0xff, 0xff, 0x00, 0x00}, 6));
  ASSERT_TRUE(cdb);
  EXPECT_EQ(cdb->kind, CommandKind::kTestUnitReady);
  EXPECT_EQ(cdb->lba, 0u);
  EXPECT_EQ(cdb->num_blocks, 0u);
}

TEST(CdbTest, WhatTurnsTheCacheOffNamesNoBlocks) {
  for (const auto& cdb : {parse_cdb(bytes({0x15, 0x10, 0xff, 0xff, 24, 0}, 6)),
                          parse_cdb(bytes({0x55, 0x10, 0xff, 0xff, 0, 0, 0, 0, 24, 0}, 10)),
                          parse_cdb(bytes({0x1b, 0, 0xff, 0xff, 0, 0}, 6))}) {
    ASSERT_TRUE(cdb);
    EXPECT_EQ(cdb->kind, CommandKind::kWriteBack);
    EXPECT_EQ(cdb->lba, 0u);
    EXPECT_EQ(cdb->num_blocks, 0u);
  }
}

TEST(CdbTest, Write16CarriesA64BitAddressAndFua) {
  const auto cdb =
      parse_cdb(bytes({0x8a, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0x00, 0x01, 0x00, 0x02}, 16));
  ASSERT_TRUE(cdb);
  EXPECT_EQ(cdb->kind, CommandKind::kWrite);
  EXPECT_EQ(cdb->lba, 0x0102030405060708u);
  EXPECT_EQ(cdb->num_blocks, 0x10002u);
  EXPECT_TRUE(cdb->fua);
}

TEST(CdbTest, Read12PutsTheCountAtByteSix) {
  const auto cdb = parse_cdb(bytes({0xa8, 0, 0, 0, 0x10, 0, 0, 0, 0x01, 0x00}, 12));
  ASSERT_TRUE(cdb);
  EXPECT_EQ(cdb->lba, 0x1000u);
  EXPECT_EQ(cdb->num_blocks, 256u);
}

TEST(CdbTest, CompareAndWriteCountsInByte13) {
  const auto cdb = parse_cdb(bytes({0x89, 0, 0, 0, 0, 0, 0, 0, 0, 7, 9, 9, 9, 2}, 16));
  ASSERT_TRUE(cdb);
  EXPECT_EQ(cdb->kind, CommandKind::kCompareAndWrite);
  EXPECT_EQ(cdb->lba, 7u);
  EXPECT_EQ(cdb->num_blocks, 2u);
}

TEST(CdbTest, WriteSameFlagsAreToldApart) {
  const auto sixteen = parse_cdb(bytes({0x93, 0x09}, 16));
  ASSERT_TRUE(sixteen);
  EXPECT_TRUE(sixteen->unmap);
  EXPECT_TRUE(sixteen->has_no_data_out);
  const auto ten = parse_cdb(bytes({0x41, 0x11}, 10));
  ASSERT_TRUE(ten);
  EXPECT_TRUE(ten->anchor);
  EXPECT_FALSE(ten->has_no_data_out);  // RELADR of old; NDOB exists in the 16-byte form only
}

TEST(CdbTest, OtherServiceActionsAreNotOurs) {
  EXPECT_TRUE(parse_cdb(bytes({0x9e, 0x12}, 16)));
  EXPECT_FALSE(parse_cdb(bytes({0x9e, 0x10}, 16)));
}

TEST(CdbTest, ShortCdbsAndUnknownOpCodesAreRefused) {
  EXPECT_FALSE(parse_cdb({}));
  EXPECT_FALSE(parse_cdb(bytes({0x88}, 10)));
  EXPECT_FALSE(parse_cdb(bytes({0x01}, 6)));
  std::mt19937 random(7);
  for (int round = 0; round < 100000; ++round) {
    std::vector<std::byte> cdb(random() % 17);
    for (std::byte& byte : cdb) byte = static_cast<std::byte>(random());
    const auto parsed = parse_cdb(cdb);
    if (parsed) {
      EXPECT_LE(parsed->num_blocks, UINT32_MAX);
    }
  }
}

std::vector<std::byte> unmap_list(std::vector<LbaRange> ranges, int announced_extra = 0) {
  std::vector<std::byte> out(8 + 16 * ranges.size());
  const std::size_t announced = 16 * ranges.size() + static_cast<std::size_t>(announced_extra);
  out[2] = static_cast<std::byte>(announced >> 8);
  out[3] = static_cast<std::byte>(announced);
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    for (int b = 0; b < 8; ++b) {
      out[8 + 16 * i + static_cast<std::size_t>(b)] =
          static_cast<std::byte>(ranges[i].lba >> (56 - 8 * b));
    }
    for (int b = 0; b < 4; ++b) {
      out[16 + 16 * i + static_cast<std::size_t>(b)] =
          static_cast<std::byte>(ranges[i].num_blocks >> (24 - 8 * b));
    }
  }
  return out;
}

TEST(UnmapListTest, YieldsRangesAndLeavesEmptyOnesOut) {
  const auto list = unmap_list({{1, 2}, {5, 0}, {0xffffffffffff, 0xffffffff}});
  const auto ranges = parse_unmap_list(list, static_cast<uint32_t>(list.size()), 256);
  ASSERT_TRUE(ranges);
  ASSERT_EQ(ranges->size(), 2u);
  EXPECT_EQ((*ranges)[1].lba, 0xffffffffffffu);
  EXPECT_EQ((*ranges)[1].num_blocks, 0xffffffffu);
}

TEST(UnmapListTest, NeverReadsPastWhatArrived) {
  auto list = unmap_list({{1, 2}}, /*announced_extra=*/1600);
  const auto ranges = parse_unmap_list(list, 4096, 256);
  ASSERT_TRUE(ranges);
  EXPECT_EQ(ranges->size(), 1u);
}

TEST(UnmapListTest, LengthRules) {
  const auto list = unmap_list({{1, 2}});
  EXPECT_TRUE(parse_unmap_list(list, 0, 256)->empty());
  EXPECT_EQ(parse_unmap_list(list, 7, 256).error(), UnmapListError::kLength);
  EXPECT_TRUE(parse_unmap_list(list, 8, 256)->empty());
  const auto long_list = unmap_list(std::vector<LbaRange>(3, LbaRange{1, 1}));
  EXPECT_EQ(parse_unmap_list(long_list, static_cast<uint32_t>(long_list.size()), 2).error(),
            UnmapListError::kTooManyDescriptors);
}

}  // namespace
}  // namespace lunar::bstore_plugin
