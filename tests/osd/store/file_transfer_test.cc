// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where the bytes of a transfer go, in what order, and what a full or failing disk makes of it.
// That an object holds what was written is object_store_test.cc.
#include "osd/store/file_transfer.h"

#include <sys/uio.h>

#include <algorithm>

#include "osd/store/object_limits.h"
#include "tests/osd/store/file_parts_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;
using Calls = std::vector<RecordingEngine::EngineCall>;

constexpr std::size_t kLoopBytes = 4096;

class FileTransferTest : public FilePartsTest {
 protected:
  std::error_code read_into(const ObjectId& id, uint64_t offset, Bytes into) {
    return driver_.wait([&](auto done) { transfer_.read(id, offset, into, std::move(done)); });
  }
  std::vector<std::byte> read(uint64_t offset, std::size_t length) {
    std::vector<std::byte> bytes(length, std::byte{0xee});
    EXPECT_EQ(read_into(id_, offset, Bytes(bytes)), kNone);
    return bytes;
  }
  std::error_code write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua = false) {
    return driver_.wait(
        [&](auto done) { transfer_.write(id, offset, from, fua, std::move(done)); });
  }
  uint64_t size_of(const ObjectId& id) { return content_of(id)->size(); }

  FileTransfer transfer_{environment_, DirectIo(fake_, path_, 0), kLoopBytes};
  const std::vector<std::byte> bytes_ = pattern(100'000, 7);
  const ConstBytes small_ = ConstBytes(bytes_).first(kLoopBytes);
};

// --- where ---

TEST_F(FileTransferTest, AReadIsMadeOnTheLoopWhereThePageCacheHasIt) {
  make_object(id_, bytes_);
  EXPECT_EQ(read(0, bytes_.size()), bytes_);
  EXPECT_TRUE(engine_.reads.empty());
}

TEST_F(FileTransferTest, AReadThatWouldWaitGoesToTheEngine) {
  make_object(id_, bytes_);
  fake_.fail_cached_reads(EAGAIN);
  EXPECT_EQ(read(0, bytes_.size()), bytes_);
  EXPECT_EQ(engine_.reads, (Calls{{0, 0}}));
}

TEST_F(FileTransferTest, TheEngineReadsOnlyWhatThePageCacheDidNotGive) {
  make_object(id_, small_);
  fake_.set_short_transfers();
  fake_.fail_cached_reads(EAGAIN, 1);
  std::vector<std::byte> bytes(3000);
  EXPECT_EQ(read_into(id_, 10, Bytes(bytes)), kNone);
  EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), bytes_.begin() + 10));
  ASSERT_FALSE(engine_.reads.empty());
  EXPECT_EQ(engine_.reads.front().offset, 10U + 1500U);
}

TEST_F(FileTransferTest, AShortReadOfTheEngineIsContinuedWhereItEnded) {
  make_object(id_, small_);
  fake_.set_short_transfers();
  fake_.fail_cached_reads(EAGAIN);
  EXPECT_EQ(read(0, 4), std::vector(bytes_.begin(), bytes_.begin() + 4));
  EXPECT_EQ(engine_.reads, (Calls{{0, 0}, {2, 0}, {3, 0}}));
}

TEST_F(FileTransferTest, AShortWriteOfTheEngineIsContinuedWhereItEnded) {
  fake_.set_short_transfers();
  ASSERT_EQ(write(id_, 8, small_.first(4), true), kNone);
  EXPECT_EQ(engine_.writes, (Calls{{8, RWF_DSYNC}, {10, RWF_DSYNC}, {11, RWF_DSYNC}}));
  EXPECT_TRUE(content_of(id_)->substr(8) == as_text(small_.first(4)));
}

TEST_F(FileTransferTest, ThePageCacheIsAskedForEachReadUnlessTheFileSystemRefuses) {
  make_object(id_, bytes_);
  fake_.fail_cached_reads(EAGAIN);
  read(0, 10);
  read(0, 10);
  EXPECT_EQ(fake_.cached_reads(), 2);
  fake_.fail_cached_reads(EOPNOTSUPP);
  EXPECT_EQ(read(5, 3), std::vector(bytes_.begin() + 5, bytes_.begin() + 8));
  EXPECT_EQ(read(0, bytes_.size()), bytes_);
  EXPECT_EQ(fake_.cached_reads(), 3);
}

TEST_F(FileTransferTest, WritesUpToTheBoundAreMadeOnTheLoop) {
  ASSERT_EQ(write(id_, 1, small_), kNone);
  EXPECT_TRUE(engine_.writes.empty());
  ASSERT_EQ(write(id_, 1, ConstBytes(bytes_).first(kLoopBytes + 1)), kNone);
  EXPECT_EQ(engine_.writes, (Calls{{1, 0}}));
}

TEST_F(FileTransferTest, FuaGoesThroughTheEngineHoweverSmallItIs) {
  ASSERT_EQ(write(id_, 0, small_.first(1), true), kNone);
  EXPECT_EQ(engine_.writes, (Calls{{0, RWF_DSYNC}}));
}

// --- ends ---

TEST_F(FileTransferTest, WhatTheEngineFindsBehindTheEndReadsAsZeroes) {
  make_object(id_, small_);
  fake_.fail_cached_reads(EAGAIN);
  std::vector<std::byte> expected(small_.end() - 100, small_.end());
  expected.resize(300);
  EXPECT_EQ(read(kLoopBytes - 100, 300), expected);
}

TEST_F(FileTransferTest, AReadThatFailsEndsWithItsError) {
  make_object(id_, bytes_);
  fake_.fail_cached_reads(EAGAIN);
  engine_.answer_next(-EIO);
  std::vector<std::byte> bytes(10);
  EXPECT_EQ(read_into(id_, 0, Bytes(bytes)), OsdErrc::kIoError);
}

TEST_F(FileTransferTest, AWriteThatMovesNothingIsAnErrorAndNotRepeated) {
  for (const bool fua : {false, true}) {
    engine_.writes.clear();
    engine_.answer_next(0);
    EXPECT_EQ(write(id_, 0, bytes_, fua), OsdErrc::kIoError);
    EXPECT_EQ(engine_.writes.size(), 1U) << fua;
  }
}

TEST_F(FileTransferTest, AReadOfAnObjectThatCannotBeOpenedGivesZeroesAndTheError) {
  make_object(id_, bytes_);
  fake_.fail_open(EMFILE);
  std::vector<std::byte> bytes(10, std::byte{0xee});
  EXPECT_EQ(read_into(id_, 0, Bytes(bytes)), OsdErrc::kBusy);
  EXPECT_EQ(bytes, std::vector<std::byte>(10));
}

TEST_F(FileTransferTest, ARangeMayEndAtTheLargestObjectsEndAndNotBehindIt) {
  make_object(id_, small_);
  EXPECT_EQ(read(kMaxObjectBytes - 10, 10), std::vector<std::byte>(10));
  std::vector<std::byte> bytes(11);
  EXPECT_EQ(read_into(id_, kMaxObjectBytes - 10, Bytes(bytes)), OsdErrc::kTooLarge);
  EXPECT_EQ(write(id_, kMaxObjectBytes - 10, bytes), OsdErrc::kTooLarge);
  EXPECT_EQ(size_of(id_), kLoopBytes);
}

// The removal of an object closes its file only if nobody else has it.
TEST_F(FileTransferTest, AtDoneTheTransferHoldsTheFileNoMore) {
  make_object(id_, bytes_);
  long users = 0;
  bool is_done = false;
  const auto count = [&](std::error_code) {
    users = files_.find(id_).use_count();
    is_done = true;
  };
  fake_.fail_cached_reads(EAGAIN);
  std::vector<std::byte> bytes(10);
  transfer_.read(id_, 0, Bytes(bytes), count);
  driver_.run_until(is_done);
  EXPECT_EQ(users, 2) << "the open files and the one found";
  is_done = false;
  transfer_.write(id_, 0, bytes_, true, count);
  driver_.run_until(is_done);
  EXPECT_EQ(users, 2);
}

TEST_F(FileTransferTest, ACloseWaitsForTransfersUnderWay) {
  make_object(id_, small_);
  engine_.hold_writes();
  std::vector<std::error_code> ended;
  transfer_.write(id_, 0, bytes_, false, [&](std::error_code error) { ended.push_back(error); });
  bool is_drained = false;
  calls_.close([&] { is_drained = true; });
  EXPECT_EQ(write(id_, 0, small_), OsdErrc::kShutdown);
  EXPECT_FALSE(is_drained);
  engine_.release();
  driver_.run_until(is_drained);
  turn();
  EXPECT_EQ(ended, std::vector<std::error_code>{kNone});
  EXPECT_EQ(size_of(id_), bytes_.size());
}

// --- durability ---

TEST_F(FileTransferTest, AFlushThatRunsDuringAWriteDoesNotCoverIt) {
  ASSERT_EQ(write(id_, 0, small_), kNone);
  ASSERT_EQ(flush(), kNone);
  engine_.hold_writes();
  bool is_done = false;
  transfer_.write(id_, 0, bytes_, false, [&](std::error_code) { is_done = true; });
  EXPECT_EQ(flusher_.dirty_files(), 1U) << "from its beginning";
  ASSERT_EQ(flush(), kNone);
  EXPECT_EQ(flusher_.dirty_files(), 0U);
  engine_.release();
  driver_.run_until(is_done);
  EXPECT_EQ(flusher_.dirty_files(), 1U);
}

TEST_F(FileTransferTest, AWriteThatFailsLeavesWhatItMayHaveWrittenToTheNextFlush) {
  make_object(id_, small_);
  fake_.fail("write", EIO);
  EXPECT_EQ(write(id_, 0, small_), OsdErrc::kIoError);
  EXPECT_EQ(flusher_.dirty_files(), 1U);
  EXPECT_TRUE(lost_.empty());
}

// RWF_DSYNC reports, and uses up, the error of an earlier write-back: a thin volume that had no
// room for it.
TEST_F(FileTransferTest, AFuaThatHasRoomWithoutItsSyncIsALoss) {
  make_object(id_, small_);
  fail_nth("write", 1, ENOSPC);
  std::vector<ObjectId> lost_at_done;
  EXPECT_EQ(driver_.wait([&](auto done) {
    transfer_.write(id_, 0, small_, true,
                    [&, done = std::move(done)](std::error_code error) mutable {
                      lost_at_done = lost_;
                      done(error);
                    });
  }),
            system_error(ENOSPC));
  EXPECT_EQ(lost_at_done, std::vector<ObjectId>{id_});
  EXPECT_EQ(engine_.writes, (Calls{{0, RWF_DSYNC}, {0, 0}}));
  EXPECT_EQ(flusher_.dirty_files(), 1U) << "what was written the second time is not synced";
  EXPECT_TRUE(flush());
  EXPECT_EQ(flush(), kNone);
}

TEST_F(FileTransferTest, AFuaOnANewObjectWhoseFolderSyncFailsIsALoss) {
  const bool is_open = driver_.wait<bool>([&](auto done) {
    files_.open(id_, true,
                [done = std::move(done)](Result<FileRef> file) mutable { done(file.has_value()); });
  });
  ASSERT_TRUE(is_open);
  fake_.fail("fsync", EIO);
  EXPECT_EQ(write(id_, 0, small_, true), OsdErrc::kIoError);
  EXPECT_EQ(lost_, std::vector<ObjectId>{id_});
  fake_.heal();
  EXPECT_TRUE(flush());
}

// --- a full disk ---

TEST_F(FileTransferTest, AWriteThatFindsNoRoomSaysWhetherItHasBegun) {
  make_object(id_, small_);
  fail_nth("write", 1, ENOSPC);
  EXPECT_EQ(write(id_, 0, bytes_), OsdErrc::kNoSpace);
  engine_.answer_next(4096);
  fail_nth("write", 1, ENOSPC);
  EXPECT_EQ(write(id_, 0, bytes_), system_error(ENOSPC));
  fail_nth("write", 1, EDQUOT);
  EXPECT_EQ(write(id_, 0, small_), OsdErrc::kNoSpace);
}

TEST_F(FileTransferTest, OnAFullDiskWhatIsAllocatedIsOverwritten) {
  make_object(id_, small_);
  fake_.set_free_bytes(0);
  const auto other = pattern(kLoopBytes, 8);
  EXPECT_EQ(write(id_, 0, other), kNone);
  EXPECT_TRUE(holds(id_, other));
}

TEST_F(FileTransferTest, OnAFullDiskWhatIsNotWhollyAllocatedIsRefusedAndLeftAsItWas) {
  constexpr uint64_t kHole = 1 << 20;
  make_object(id_, small_);
  const auto opened = tree_.open(id_, false);
  ASSERT_TRUE(opened);
  ASSERT_EQ(fake_.truncate(opened->fd.get(), 2 * kHole), 0);
  const auto before = content_of(id_);
  fake_.set_free_bytes(0);
  EXPECT_EQ(write(id_, kHole, small_), OsdErrc::kNoSpace) << "a hole";
  EXPECT_EQ(write(id_, 1, ConstBytes(bytes_).first(kHole / 16)), OsdErrc::kNoSpace) << "into it";
  EXPECT_EQ(write(id_, 2 * kHole, small_), OsdErrc::kNoSpace) << "behind the end";
  EXPECT_TRUE(content_of(id_) == before);
  EXPECT_EQ(flusher_.dirty_files(), 0U);
}

TEST_F(FileTransferTest, OnAFullDiskNoObjectIsMadeForBytes) {
  fake_.set_free_bytes(0);
  EXPECT_EQ(write(id_, 0, small_), OsdErrc::kNoSpace);
  EXPECT_FALSE(content_of(id_));
  EXPECT_EQ(write(id_, 0, {}), kNone) << "an empty one takes none";
  EXPECT_EQ(content_of(id_), "");
}

TEST_F(FileTransferTest, OnAFullDiskAnObjectThatCannotBeLookedAtIsAnErrorOfItsOwn) {
  make_object(id_, small_);
  fake_.set_free_bytes(0);
  fake_.fail_open(EMFILE);
  EXPECT_EQ(write(id_, 0, small_), OsdErrc::kBusy);
  fake_.fail_open(0);
  fake_.fail_seek(EIO);
  EXPECT_EQ(write(id_, 0, small_), OsdErrc::kIoError);
}

TEST_F(FileTransferTest, AWriteGivesBackWhatItClaimedOfTheDiskHoweverItEnds) {
  // There is room for one at a time.
  fake_.set_free_bytes(reserve_.kept_free() + bytes_.size() + (16 << 10));
  for (int i = 0; i < 3; ++i) {
    const ObjectId id{1, "object." + std::to_string(i)};
    fake_.fail_open(EMFILE);
    EXPECT_EQ(write(id, 0, bytes_), OsdErrc::kBusy);
    fake_.fail_open(0);
    engine_.answer_next(-EIO);
    EXPECT_EQ(write(id, 0, bytes_), OsdErrc::kIoError);
    EXPECT_EQ(write(id, 0, bytes_), kNone);
  }
}

}  // namespace
}  // namespace lunar::osd::test
