// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/scsi.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lunar::iscsi_load {
namespace {

using ::testing::ElementsAre;

TEST(ScsiTest, FixedSenseGivesKeyCodesAndInformation) {
  std::vector<uint8_t> raw = {0xf0, 0, 0x0e, 0,    0,    0x01, 0x02, 10, 0,
                              0,    0, 0,    0x1d, 0x01, 0,    0,    0,  0};
  Sense sense = parse_sense(raw);
  EXPECT_EQ(sense.key, kMiscompare);
  EXPECT_EQ(sense.asc, 0x1d);
  EXPECT_EQ(sense.ascq, 0x01);
  EXPECT_EQ(sense.information, 0x102u);
}

TEST(ScsiTest, FixedSenseWithoutValidBitHasNoInformation) {
  std::vector<uint8_t> raw(18);
  raw[0] = 0x70;
  raw[6] = 5;
  EXPECT_FALSE(parse_sense(raw).information);
}

TEST(ScsiTest, DescriptorSenseGivesInformation) {
  std::vector<uint8_t> raw = {0x72, 0x0e, 0x1d, 0, 0, 0, 0, 12, 0,    10,
                              0x80, 0,    0,    0, 0, 0, 0, 0,  0x02, 0x00};
  Sense sense = parse_sense(raw);
  EXPECT_EQ(sense.key, kMiscompare);
  EXPECT_EQ(sense.information, 512u);
}

TEST(ScsiTest, DamagedSenseIsHarmless) {
  EXPECT_EQ(parse_sense({}).key, 0);
  std::vector<uint8_t> cut = {0x72, 0x05, 0x24, 0, 0, 0, 0, 200, 0, 10, 0x80};
  EXPECT_EQ(parse_sense(cut).key, kIllegalRequest);
  EXPECT_FALSE(parse_sense(cut).information);
  std::vector<uint8_t> too_short = {0x70, 0, 5};
  EXPECT_EQ(parse_sense(too_short).key, 0);
}

TEST(ScsiTest, WriteSixteenCarriesLbaCountAndFlags) {
  auto data = std::make_shared<Buffer>(1024);
  Command command = write16(0x0102030405060708, 2, data, {.fua = true});
  EXPECT_THAT(command.cdb, ElementsAre(0x8a, 0x08, 1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 2, 0, 0));
  EXPECT_EQ(command.direction, Direction::kWrite);
  EXPECT_EQ(command.data, data);
}

TEST(ScsiTest, UnmapListHasLengthsAndDescriptors) {
  std::vector<UnmapRange> ranges = {{0x10, 0x20}, {0x30, 0x40}};
  Command command = unmap(ranges);
  ASSERT_EQ(command.data->size(), 40u);
  const std::byte* list = command.data->data();
  EXPECT_EQ(get_be(list, 2), 38u);
  EXPECT_EQ(get_be(list + 2, 2), 32u);
  EXPECT_EQ(get_be(list + 8, 8), 0x10u);
  EXPECT_EQ(get_be(list + 16, 4), 0x20u);
  EXPECT_EQ(get_be(list + 24, 8), 0x30u);
  EXPECT_EQ(get_be(&command.cdb[7], 2), 40u);
}

TEST(ScsiTest, CompareAndWriteHasAnEightBitCount) {
  Command command = compare_and_write(1, 8, std::make_shared<Buffer>(8192), {});
  EXPECT_EQ(command.cdb[13], 8);
  EXPECT_EQ(get_be(&command.cdb[10], 3), 0u);
}

TEST(ScsiTest, CompletionSaysWhatHappened) {
  Completion answered{
      .end = End::kAnswered, .status = kCheckCondition, .sense = {}, .transferred = 0};
  answered.sense.key = 5;
  answered.sense.asc = 0x24;
  EXPECT_EQ(answered.to_string(), "CHECK CONDITION 5/24/00");
  EXPECT_EQ(Completion{}.to_string(), "connection lost");
  EXPECT_FALSE(Completion{}.is_good());
}

}  // namespace
}  // namespace lunar::iscsi_load
