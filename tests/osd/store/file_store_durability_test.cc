// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What a flush, FUA, a replace, a restart and a failing disk leave behind.
#include <atomic>
#include <filesystem>

#include "tests/osd/store/file_store_fixture.h"

namespace lunar::osd::test {
namespace {

namespace fs = std::filesystem;
using objecter::OsdErrc;

class FileStoreDurabilityTest : public FileStoreTest {};

TEST_F(FileStoreDurabilityTest, AFlushOfFewSyncsTheFilesAndTheFolderOfANewName) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.write(*store_, {1, "other"}, 0, bytes_), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.count("fdatasync"), 2U);
  EXPECT_EQ(fake_.count("fsync"), 2U) << "a folder each";
  EXPECT_EQ(fake_.count("syncfs"), 0U);
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fdatasync"});
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_TRUE(fake_.take_calls().empty()) << "nothing is dirty";
}

// Its change of the map was refused: it must not be the map at the next start.
TEST_F(FileStoreDurabilityTest, ARecordThatWasNotWrittenIsNotThereLater) {
  open();
  ASSERT_EQ(driver_.put_record(*store_, "known", "before"), kNone);
  enum Stage { kBegun, kRenamed, kFailed };
  std::atomic<Stage> stage = kBegun;
  fake_.set_rule([&](const std::string& call) {
    if (call == "rename" && stage == kBegun) stage = kRenamed;
    if (call != "fsync" || stage != kRenamed) return 0;
    stage = kFailed;
    return -EIO;
  });
  EXPECT_NE(driver_.put_record(*store_, "known", "after"), kNone);
  stage = kBegun;
  EXPECT_NE(driver_.put_record(*store_, "new", "after"), kNone);
  fake_.heal();
  EXPECT_EQ(as_text(*store_->get_record("known")), "before");
  driver_.shutdown(*store_);
  store_.reset();
  open();
  EXPECT_EQ(as_text(*store_->get_record("known")), "before");
  EXPECT_EQ(store_->get_record("new").error(), OsdErrc::kNoSuchObject);
}

TEST_F(FileStoreDurabilityTest, AFailedRemovalWhereNoFolderIsFailsNoFlush) {
  open();
  fake_.fail_open(EMFILE);
  EXPECT_NE(driver_.remove(*store_, {77, "absent"}), kNone);
  fake_.fail_open(0);
  EXPECT_EQ(driver_.flush(*store_), kNone);
}

TEST_F(FileStoreDurabilityTest, AFlushAfterARemovalSyncsItsFolder) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.flush(*store_), kNone);
  ASSERT_EQ(driver_.remove(*store_, id_), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fsync"});
}

TEST_F(FileStoreDurabilityTest, AFlushOfManyIsOneSyncfs) {
  options_.sync_files_limit = 8;
  open();
  for (int i = 0; i < 9; ++i) {
    ASSERT_EQ(driver_.write(*store_, {1, "o" + std::to_string(i)}, 0, bytes_), kNone);
  }
  fake_.take_calls();
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.count("syncfs"), 1U);
  EXPECT_EQ(fake_.count("fdatasync"), 0U);
}

TEST_F(FileStoreDurabilityTest, FlushesThatArriveTogetherShareASync) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.take_calls();
  int left = 10;
  bool is_done = false;
  for (int i = 0; i < 10; ++i) {
    store_->flush([&](std::error_code error) {
      EXPECT_EQ(error, kNone);
      is_done = --left == 0;
    });
  }
  driver_.run_until(is_done);
  EXPECT_EQ(fake_.count("fdatasync"), 1U);
}

TEST_F(FileStoreDurabilityTest, FuaIsDurableWithTheNameOfANewObjectAndLeavesNothingToFlush) {
  options_.io = FileStoreOptions::Io::kThreads;
  open();
  ASSERT_EQ(driver_.write(*store_, {1, "warm-up"}, 0, bytes_, true), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.write(*store_, {1, "warm-up"}, 0, bytes_, true), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"write"}) << "RWF_DSYNC needs no more";
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_, true), kNone);
  const auto calls = fake_.take_calls();
  ASSERT_FALSE(calls.empty());
  EXPECT_EQ(calls.back(), "fsync") << "of the folder, after the write";
}

TEST_F(FileStoreDurabilityTest, AFailedSyncIsReportedOnceAsALossAndNeverRetried) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_FALSE(store_->may_have_lost_writes());
  std::vector<ObjectId> told;
  store_->set_on_loss([&](std::error_code error, const std::vector<ObjectId>& objects) {
    EXPECT_EQ(error, system_error(EIO));
    told.insert(told.end(), objects.begin(), objects.end());
  });
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.fail("fdatasync", EIO);
  std::size_t told_before_done = 0;
  bool is_done = false;
  store_->flush([&](std::error_code error) {
    EXPECT_EQ(error, OsdErrc::kIoError);
    told_before_done = told.size();
    is_done = true;
  });
  driver_.run_until(is_done);
  EXPECT_EQ(told_before_done, 1U);
  EXPECT_EQ(told, std::vector<ObjectId>{id_});
  EXPECT_TRUE(store_->may_have_lost_writes());
  fake_.heal();
  fake_.take_calls();
  EXPECT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.count("fdatasync"), 0U) << "a second sync would prove nothing";
}

TEST_F(FileStoreDurabilityTest, ALossIsRememberedOverRestartsUntilAcknowledged) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.fail("fdatasync", EIO);
  ASSERT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  fake_.heal();
  close();
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
  ASSERT_EQ(driver_.acknowledge_loss(*store_), kNone);
  EXPECT_FALSE(store_->may_have_lost_writes());
  close();
  open();
  EXPECT_FALSE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, AnErrorThatNobodyWaitedForIsReportedByTheNextFlush) {
  options_.max_open_files = 1;
  open();
  auto has_failed = std::make_shared<std::atomic<bool>>(false);
  fake_.set_rule([has_failed](const std::string& call) {
    return call == "fdatasync" && !has_failed->exchange(true) ? -EIO : 0;
  });
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(driver_.write(*store_, {1, "o" + std::to_string(i)}, 0, bytes_), kNone);
  }
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  EXPECT_EQ(driver_.flush(*store_), kNone);
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, AFailedFuaWriteIsALossAndTheNextFlushSaysSoToo) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.fail("write", EIO);
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, true), OsdErrc::kIoError);
  EXPECT_TRUE(store_->may_have_lost_writes());
  fake_.heal();
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  EXPECT_EQ(driver_.flush(*store_), kNone);
}

TEST_F(FileStoreDurabilityTest, AFuaWriteThatFindsNoRoomIsNoLoss) {
  open();
  fake_.fail("write", ENOSPC);
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, true), system_error(ENOSPC));
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, false), OsdErrc::kNoSpace);
  EXPECT_FALSE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, AFailedFolderSyncIsALossOfAnyObject) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  bool is_told = false;
  store_->set_on_loss(
      [&](std::error_code, const std::vector<ObjectId>& objects) { is_told = objects.empty(); });
  // The folder's fsync of this flush; what is synced after it, the runtime record, works.
  auto has_failed = std::make_shared<std::atomic<bool>>(false);
  fake_.set_rule([has_failed](const std::string& call) {
    return call == "fsync" && !has_failed->exchange(true) ? -EIO : 0;
  });
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  EXPECT_TRUE(is_told);
}

TEST_F(FileStoreDurabilityTest, AFailedRemovalForgetsNoUnflushedBytes) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.flush(*store_), kNone);
  for (const bool is_durable : {false, true}) {
    ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
    fake_.fail("unlink", EMFILE);
    EXPECT_EQ(is_durable ? driver_.remove_durably(*store_, id_) : driver_.remove(*store_, id_),
              OsdErrc::kBusy);
    fake_.heal();
    fake_.take_calls();
    EXPECT_EQ(driver_.flush(*store_), kNone);
    EXPECT_EQ(fake_.count("fdatasync"), 1U) << "the object is still there";
  }
}

TEST_F(FileStoreDurabilityTest, AFailedReplaceForgetsNoUnflushedBytes) {
  open();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  for (const char* call : {"write", "fsync", "rename"}) {
    ASSERT_EQ(driver_.zero(*store_, id_, 0, 4096), kNone);
    fake_.fail(call, EIO);
    EXPECT_EQ(driver_.replace(*store_, id_, bytes_), OsdErrc::kIoError);
    fake_.heal();
    fake_.take_calls();
    EXPECT_EQ(driver_.flush(*store_), kNone);
    EXPECT_EQ(fake_.count("fdatasync"), 1U) << "the old content is what there is, after " << call;
  }
}

TEST_F(FileStoreDurabilityTest, AFlushThatCannotOpenAFolderIsBusyAndNoLoss) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.write(*store_, {1, "other"}, 0, bytes_), kNone);
  fake_.fail_open(EMFILE);
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kBusy);
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, true), system_error(EMFILE))
      << "its name is not durable";
  fake_.fail_open(0);
  EXPECT_FALSE(store_->may_have_lost_writes());
  fake_.take_calls();
  EXPECT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.count("fsync"), 2U) << "both folders are still to be synced";
}

// What the disk does not give now it may give later, without the names that were new in it.
TEST_F(FileStoreDurabilityTest, AFlushThatCannotReadAFolderIsALoss) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.fail_open(EIO);
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  fake_.fail_open(0);
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, AFailedSyncOfOneFolderForgetsNoOther) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.write(*store_, {1, "other"}, 0, bytes_), kNone);
  auto has_failed = std::make_shared<std::atomic<bool>>(false);
  fake_.set_rule([has_failed](const std::string& call) {
    return call == "fsync" && !has_failed->exchange(true) ? -EIO : 0;
  });
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  fake_.take_calls();
  EXPECT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.count("fsync"), 1U) << "the name in the folder that failed is not durable";
}

TEST_F(FileStoreDurabilityTest, AReplaceOrRemovalWhoseFolderCannotBeSyncedIsBusyAndSyncedLater) {
  open();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  const auto fail_after_rename = [this](const std::string& call) {
    if (call == "rename" || call == "unlink") fake_.fail_open(EMFILE);
    return 0;
  };
  fake_.set_rule(fail_after_rename);
  EXPECT_EQ(driver_.replace(*store_, id_, pattern(10, 1)), OsdErrc::kBusy);
  fake_.fail_open(0);
  EXPECT_EQ(driver_.remove_durably(*store_, id_), OsdErrc::kBusy);
  fake_.fail_open(0);
  fake_.heal();
  EXPECT_FALSE(store_->may_have_lost_writes());
  fake_.take_calls();
  EXPECT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fsync"});
}

TEST_F(FileStoreDurabilityTest, AFailedSyncfsNamesTheObjectsWhoseOwnSyncFails) {
  options_.sync_files_limit = 2;
  open();
  std::vector<ObjectId> told;
  bool is_told = false;
  store_->set_on_loss([&](std::error_code, const std::vector<ObjectId>& objects) {
    is_told = true;
    told = objects;
  });
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(driver_.write(*store_, {1, "o" + std::to_string(i)}, 0, bytes_), kNone);
  }
  auto syncs = std::make_shared<std::atomic<int>>(0);
  fake_.set_rule([syncs](const std::string& call) {
    if (call == "syncfs") return -EIO;
    return call == "fdatasync" && ++*syncs == 2 ? -EIO : 0;
  });
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  EXPECT_EQ(told.size(), 1U);
  fake_.set_rule([](const std::string& call) { return call == "syncfs" ? -EIO : 0; });
  for (int i = 0; i < 4; ++i) {
    ASSERT_EQ(driver_.write(*store_, {1, "o" + std::to_string(i)}, 0, bytes_), kNone);
  }
  is_told = false;
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  EXPECT_TRUE(is_told);
  EXPECT_TRUE(told.empty()) << "none is known, so it may be any";
}

TEST_F(FileStoreDurabilityTest, AFailedFolderSyncDoesNotHideTheNamesOfFailedFiles) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  std::vector<ObjectId> told;
  store_->set_on_loss(
      [&](std::error_code, const std::vector<ObjectId>& objects) { told = objects; });
  auto folders = std::make_shared<std::atomic<int>>(0);
  fake_.set_rule([folders](const std::string& call) {
    if (call == "fdatasync") return -EIO;
    return call == "fsync" && (*folders)++ == 0 ? -EIO : 0;
  });
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  EXPECT_EQ(told, std::vector<ObjectId>{id_});
}

TEST_F(FileStoreDurabilityTest, WantOfDescriptorsIsBusy) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  for (const int error : {EMFILE, ENFILE}) {
    fake_.fail_open(error);
    EXPECT_EQ(driver_.write(*store_, {1, "other"}, 0, bytes_), OsdErrc::kBusy);
    EXPECT_EQ(driver_.replace(*store_, id_, bytes_), OsdErrc::kBusy);
    EXPECT_EQ(driver_.put_record(*store_, "k", "v"), OsdErrc::kBusy);
    fake_.fail_open(0);
  }
}

TEST_F(FileStoreDurabilityTest, ALossThatCannotBeWrittenDownIsOneAtTheNextStart) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.set_rule([](const std::string& call) {
    return call == "fdatasync" || call == "write" || call == "rename" ? -EIO : 0;
  });
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  fake_.heal();
  store_.reset();  // no shutdown
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, ALossThatCouldNotBeNotedInAnyWayIsNotedByTheNextFlush) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.flush(*store_), kNone);
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.set_rule([](const std::string&) { return -EIO; });
  EXPECT_EQ(driver_.flush(*store_), OsdErrc::kIoError);
  fake_.heal();
  EXPECT_EQ(driver_.flush(*store_), kNone);
  store_.reset();
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, AKilledServersWritesSurviveOnTheSameBootAndMount) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  store_.reset();  // no shutdown
  fake_.take_calls();
  open();
  EXPECT_EQ(fake_.count("syncfs"), 1U);
  EXPECT_FALSE(store_->may_have_lost_writes());
  EXPECT_EQ(driver_.read(*store_, id_, 0, bytes_.size()), bytes_);
}

TEST_F(FileStoreDurabilityTest, AnotherBootIsALossUnlessTheShutdownWasClean) {
  open();
  store_.reset();
  edit("runtime.json", "\"boot_id\": \"", "\"boot_id\": \"0");
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
  ASSERT_EQ(driver_.acknowledge_loss(*store_), kNone);
  close();
  edit("runtime.json", "\"boot_id\": \"", "\"boot_id\": \"0");
  open();
  EXPECT_FALSE(store_->may_have_lost_writes());
  store_.reset();
  edit("runtime.json", "\"mount\": ", "\"mount\": 9");
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
  store_.reset();
  fs::remove(path_ + "/runtime.json");
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, AFailedSyncAtStartIsALoss) {
  fake_.fail("syncfs", EIO);
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreDurabilityTest, ReplaceSyncsTheBytesBeforeTheNameAndTheNameBeforeItEnds) {
  open();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  EXPECT_EQ(fake_.take_calls(), (std::vector<std::string>{"write", "fsync", "rename", "fsync"}));
  ASSERT_EQ(driver_.put_record(*store_, "k", "v"), kNone);
  EXPECT_EQ(fake_.take_calls(), (std::vector<std::string>{"write", "fsync", "rename", "fsync"}));
}

TEST_F(FileStoreDurabilityTest, AFailedReplaceLeavesTheOldObjectAndNoTemporary) {
  open();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  for (const auto& [call, error, expected] : {std::tuple("write", ENOSPC, OsdErrc::kNoSpace),
                                              std::tuple("fsync", EIO, OsdErrc::kIoError)}) {
    fake_.fail(call, error);
    EXPECT_EQ(driver_.replace(*store_, id_, pattern(10, 1)), expected);
    fake_.heal();
    EXPECT_EQ(driver_.read(*store_, id_, 0, bytes_.size()), bytes_);
    EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
  }
  EXPECT_FALSE(store_->may_have_lost_writes());
}

}  // namespace
}  // namespace lunar::osd::test
