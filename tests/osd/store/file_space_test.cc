// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where the work is done, what it takes of the reserve, and what a failing disk makes of it. Which
// bytes are left is object_store_test.cc.
#include "osd/store/file_space.h"

#include <latch>
#include <set>

#include "tests/osd/store/file_parts_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;

class FileSpaceTest : public FilePartsTest {
 protected:
  std::error_code zero(uint64_t offset, uint64_t length, bool fua = false) {
    return driver_.wait(
        [&](auto done) { file_space_.zero(id_, offset, length, fua, std::move(done)); });
  }
  std::error_code truncate(uint64_t size) {
    return driver_.wait([&](auto done) { file_space_.truncate(id_, size, std::move(done)); });
  }
  Result<FileSpace::Stat> stat() {
    return driver_.wait<Result<FileSpace::Stat>>(
        [&](auto done) { file_space_.stat(id_, std::move(done)); });
  }
  Result<ExtentMap> map_extents() {
    return driver_.wait<Result<ExtentMap>>(
        [&](auto done) { file_space_.map_extents(id_, 0, 1 << 20, std::move(done)); });
  }

  FileSpace file_space_{environment_};
  const std::vector<std::byte> bytes_ = pattern(300'000, 7);
};

TEST_F(FileSpaceTest, WhatMayWaitIsNotDoneOnTheLoop) {
  make_object(id_, bytes_);
  auto on_loop = std::make_shared<std::atomic<int>>(0);
  auto calls = std::make_shared<std::atomic<int>>(0);
  fake_.set_rule([on_loop, calls, loop = std::this_thread::get_id()](const std::string&) {
    ++*calls;
    if (std::this_thread::get_id() == loop) ++*on_loop;
    return 0;
  });
  ASSERT_EQ(zero(0, 4096, true), kNone);
  ASSERT_EQ(truncate(10), kNone);
  EXPECT_EQ(*calls, 3) << "fallocate, fdatasync, ftruncate";
  EXPECT_EQ(*on_loop, 0);
}

// --- the reserve ---

TEST_F(FileSpaceTest, AZeroingThatFindsNoSpaceTakesFromTheReserve) {
  make_object(id_, bytes_);
  const uint64_t full = reserve_.held();
  fail_nth("fallocate", 1, ENOSPC);
  EXPECT_EQ(zero(0, 4096), kNone);
  EXPECT_LT(reserve_.held(), full);
}

TEST_F(FileSpaceTest, ATruncationThatFindsNoSpaceTakesFromTheReserve) {
  make_object(id_, bytes_);
  const uint64_t full = reserve_.held();
  fail_nth("ftruncate", 1, ENOSPC);
  EXPECT_EQ(truncate(10), kNone);
  EXPECT_LT(reserve_.held(), full);
  EXPECT_EQ(content_of(id_)->size(), 10U);
}

// Else a power cut takes it, and the start after that may find a full disk.
TEST_F(FileSpaceTest, TheReserveIsDurableWhenItIsFilledAgain) {
  make_object(id_, bytes_);
  fail_nth("fallocate", 1, ENOSPC);
  ASSERT_EQ(zero(0, 4096), kNone);
  ASSERT_FALSE(reserve_.is_full());
  fake_.take_calls();
  reserve_.refill();
  EXPECT_TRUE(reserve_.is_full());
  EXPECT_EQ(fake_.count("fsync"), 1U);
}

TEST_F(FileSpaceTest, WhenTheReserveHasNothingLeftThereIsNoSpace) {
  make_object(id_, bytes_);
  fake_.fail("fallocate", ENOSPC);
  EXPECT_EQ(zero(0, 4096), OsdErrc::kNoSpace);
  EXPECT_EQ(reserve_.held(), 0U);
  EXPECT_TRUE(holds(id_, bytes_));
}

TEST_F(FileSpaceTest, OtherErrorsTakeNothingFromTheReserve) {
  make_object(id_, bytes_);
  fake_.fail("fallocate", EIO);
  EXPECT_EQ(zero(0, 4096), OsdErrc::kIoError);
  EXPECT_TRUE(reserve_.is_full());
}

// --- zeroing ---

TEST_F(FileSpaceTest, WhereNoHolesCanBePunchedZeroesAreWritten) {
  make_object(id_, bytes_);
  fake_.fail("fallocate", EOPNOTSUPP);
  fake_.set_short_transfers();
  ASSERT_EQ(zero(1001, 200'000), kNone);
  std::string expected(as_text(bytes_));
  expected.replace(1001, 200'000, 200'000, '\0');
  EXPECT_TRUE(content_of(id_) == expected);
  ASSERT_EQ(zero(299'000, 1 << 20), kNone);
  expected.replace(299'000, 1000, 1000, '\0');
  EXPECT_TRUE(content_of(id_) == expected) << "it is not longer than before";
}

TEST_F(FileSpaceTest, ARangeOutsideTheObjectCostsNoCall) {
  make_object(id_, bytes_);
  ASSERT_EQ(zero(bytes_.size(), 4096), kNone);
  ASSERT_EQ(zero(~0ULL, ~0ULL), kNone);
  ASSERT_EQ(zero(0, 0), kNone);
  EXPECT_EQ(fake_.count("fallocate"), 0U);
}

TEST_F(FileSpaceTest, AZeroingWithFuaIsSyncedAndOneWithoutIsLeftToTheFlush) {
  make_object(id_, bytes_);
  ASSERT_EQ(flush(), kNone);
  fake_.take_calls();
  ASSERT_EQ(zero(0, 4096), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fallocate"});
  EXPECT_EQ(flusher_.dirty_files(), 1U);
  ASSERT_EQ(zero(0, 4096, true), kNone);
  EXPECT_EQ(fake_.take_calls(), (std::vector<std::string>{"fallocate", "fdatasync"}));
}

TEST_F(FileSpaceTest, AFailedSyncOfAZeroingIsALoss) {
  make_object(id_, bytes_);
  fake_.fail("fdatasync", EIO);
  std::vector<ObjectId> lost_at_done;
  EXPECT_EQ(driver_.wait([&](auto done) {
    file_space_.zero(id_, 0, 4096, true,
                     [&, done = std::move(done)](std::error_code error) mutable {
                       lost_at_done = lost_;
                       done(error);
                     });
  }),
            OsdErrc::kIoError);
  EXPECT_EQ(lost_at_done, std::vector<ObjectId>{id_});
  fake_.heal();
  EXPECT_TRUE(flush()) << "the next flush reports it too";
}

TEST_F(FileSpaceTest, AZeroingThatFailsIsNotSyncedAndNoLoss) {
  make_object(id_, bytes_);
  fake_.take_calls();
  fake_.fail("fallocate", EIO);
  EXPECT_EQ(zero(0, 4096, true), OsdErrc::kIoError);
  EXPECT_EQ(fake_.count("fdatasync"), 0U);
  EXPECT_TRUE(lost_.empty());
  EXPECT_EQ(flusher_.dirty_files(), 1U) << "part of it may be done";
}

// --- changes and flushes ---

TEST_F(FileSpaceTest, AFlushThatRunsDuringAChangeDoesNotCoverIt) {
  make_object(id_, bytes_);
  std::latch entered(1);
  std::latch may_go(1);
  fake_.set_rule([&](const std::string& call) {
    if (call == "fallocate") {
      entered.count_down();
      may_go.wait();
    }
    return 0;
  });
  bool is_done = false;
  file_space_.zero(id_, 0, 4096, false, [&](std::error_code) { is_done = true; });
  EXPECT_EQ(flusher_.dirty_files(), 1U) << "from its beginning";
  entered.wait();
  EXPECT_EQ(flush(), kNone);
  EXPECT_EQ(flusher_.dirty_files(), 0U);
  may_go.count_down();
  driver_.run_until(is_done);
  EXPECT_EQ(flusher_.dirty_files(), 1U);
}

TEST_F(FileSpaceTest, ACloseWaitsForAChangeUnderWay) {
  make_object(id_, bytes_);
  std::latch may_go(1);
  fake_.set_rule([&](const std::string& call) {
    if (call == "ftruncate") may_go.wait();
    return 0;
  });
  std::vector<std::error_code> ended;
  file_space_.truncate(id_, 10, [&](std::error_code error) { ended.push_back(error); });
  bool is_drained = false;
  calls_.close([&] { is_drained = true; });
  EXPECT_EQ(zero(0, 1), OsdErrc::kShutdown);
  EXPECT_FALSE(is_drained);
  may_go.count_down();
  driver_.run_until(is_drained);
  turn();
  EXPECT_EQ(ended, std::vector<std::error_code>{kNone});
  EXPECT_EQ(content_of(id_)->size(), 10U);
}

// --- what cannot be looked at ---

TEST_F(FileSpaceTest, AnObjectThatCannotBeOpenedIsNotTakenForAnAbsentOne) {
  make_object(id_, bytes_);
  fake_.fail_open(EMFILE);
  EXPECT_EQ(zero(0, 4096), OsdErrc::kBusy);
  EXPECT_EQ(truncate(10), OsdErrc::kBusy);
  EXPECT_EQ(stat().error(), OsdErrc::kBusy);
  const auto map = map_extents();
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error(), OsdErrc::kBusy);
}

TEST_F(FileSpaceTest, AMapThatCannotBeReadIsAnErrorAndNotEmpty) {
  make_object(id_, bytes_);
  fake_.fail_seek(EIO);
  const auto map = map_extents();
  ASSERT_FALSE(map);
  EXPECT_EQ(map.error(), OsdErrc::kIoError);
}

TEST_F(FileSpaceTest, AnObjectThatIsAllHolesHasAnEmptyMap) {
  ASSERT_EQ(truncate(1 << 20), kNone);
  const auto map = map_extents();
  ASSERT_TRUE(map);
  EXPECT_TRUE(map->extents.empty());
  EXPECT_EQ(stat()->allocated, 0U);
  EXPECT_EQ(stat()->size, 1U << 20);
}

}  // namespace
}  // namespace lunar::osd::test
