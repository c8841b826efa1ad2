// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/trim.h"

#include "tests/gateway/metadata/metadata_fixture.h"
#include "tests/support/sizes.h"

namespace lunar::gateway {
namespace {

class TrimTest : public MetadataFixture {
 protected:
  // 200 objects of 4 KiB: several windows full.
  static constexpr uint64_t kObjectBytes = 4 * kKiB;
  static constexpr uint64_t kImageBytes = 200 * kObjectBytes;

  void SetUp() override {
    create_and_open(kImageBytes, {kObjectBytes, kObjectBytes, 1});
    ASSERT_FALSE(write(0, std::string(kImageBytes, 'x')));
    const auto found = wait<VersionedHeader>([&](auto done) {
      find_image(*gateway, {"lunar", "disk"}, std::move(done));
    });
    ASSERT_TRUE(found);
    header_ = found->header;
    pool_ = *gateway->find_pool("lunar");
  }
  void TearDown() override { EXPECT_TRUE(close(image)); }

  std::error_code trim(uint64_t from, uint64_t to, OnProgress on_progress = {}) {
    std::optional<std::error_code> result;
    run_to_done<std::error_code>(
        *center, trim_image(*gateway, pool_, header_, from, to, std::move(on_progress)),
        [&result](std::error_code error) { result = error; });
    EXPECT_TRUE(until([&] { return result.has_value(); }));
    return result.value_or(make_error_code(objecter::OsdErrc::kTimedOut));
  }

  ImageHeader header_;
  objecter::PoolInfo pool_;
};

TEST_F(TrimTest, FreesFromTheMiddleOfAnObjectToTheEnd) {
  const uint64_t from = kObjectBytes + kKiB;
  ASSERT_FALSE(trim(from, kImageBytes));
  EXPECT_EQ(read(0, from), std::string(from, 'x'));
  EXPECT_EQ(read(from, kImageBytes - from), std::string(kImageBytes - from, '\0'));
}

TEST_F(TrimTest, TellsOfEveryWholeObject) {
  std::vector<uint64_t> told;
  ASSERT_FALSE(trim(0, kImageBytes, [&told](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 200u);
    told.push_back(done);
  }));
  ASSERT_EQ(told.size(), 200u);
  EXPECT_EQ(told.front(), 1u);
  EXPECT_EQ(told.back(), 200u);
}

// Of 4 PiB, an op for each object would take a day.
TEST_F(TrimTest, OfALargeRangeDeletesWhatThereIs) {
  uint64_t deletes = 0;
  const uint64_t from = kObjectBytes + kKiB;
  const uint64_t end = uint64_t{4} << 50;
  ASSERT_FALSE(trim(from, end, [&deletes](uint64_t done, uint64_t total) {
    EXPECT_EQ(total, 198u);
    deletes = done;
  }));
  EXPECT_EQ(deletes, 198u);
  EXPECT_EQ(read(0, from), std::string(from, 'x'));
  EXPECT_EQ(read(from, kImageBytes - from), std::string(kImageBytes - from, '\0'));
}

TEST_F(TrimTest, AServerThatDoesNotListItsObjectsLosesThemAllTheSame) {
  stop(1);
  ASSERT_TRUE(until([&] { return !gateway->objecter().map()->find_osd(1)->up; }));
  uint64_t deletes = 0;
  std::optional<std::error_code> result;
  run_to_done<std::error_code>(
      *center,
      trim_image(*gateway, pool_, header_, 0, 2 * kTrimListsFrom * kObjectBytes,
                 [&deletes](uint64_t done, uint64_t) { deletes = done; }),
      [&result](std::error_code error) { result = error; });
  ASSERT_TRUE(until([&] { return deletes != 0; }));
  start(1);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_FALSE(*result) << result->message();
  EXPECT_EQ(deletes, 2 * kTrimListsFrom);
  EXPECT_EQ(read(0, kImageBytes), std::string(kImageBytes, '\0'));
}

// A server lost its power after the deletes and before the flush: what was freed is there again.
TEST_F(TrimTest, WhatAServerLostIsFreedAgain) {
  using Call = osd::FaultyStore::Call;
  osds[0].store->fail_next(Call::kFlush, make_error_code(std::errc::io_error));
  osds[1].store->hold(Call::kFlush);
  std::optional<std::error_code> result;
  run_to_done<std::error_code>(*center, trim_image(*gateway, pool_, header_, kKiB, kImageBytes, {}),
                               [&result](std::error_code error) { result = error; });
  ASSERT_TRUE(until([&] { return osds[1].store->held(Call::kFlush) != 0; }));
  ASSERT_FALSE(write(0, std::string(kImageBytes, 'x')));
  osds[1].store->release(Call::kFlush);
  ASSERT_TRUE(until([&] { return result.has_value(); }));
  EXPECT_FALSE(*result) << result->message();
  EXPECT_EQ(read(0, kKiB), std::string(kKiB, 'x'));
  EXPECT_EQ(read(kKiB, kImageBytes - kKiB), std::string(kImageBytes - kKiB, '\0'));
}

TEST_F(TrimTest, OfNothingIsDone) {
  EXPECT_FALSE(trim(kImageBytes, kImageBytes));
  EXPECT_EQ(read(0, kKiB), std::string(kKiB, 'x'));
}

}  // namespace
}  // namespace lunar::gateway
