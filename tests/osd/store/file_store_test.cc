// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What only a store of files does: identity, locking, durability, failing disks.
#include "osd/store/file_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "common/file.h"
#include "osd/store/store_tree.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

namespace fs = std::filesystem;
using objecter::Errc;
using ::testing::Test;

const std::error_code kNone;

class FileStoreTest : public Test {
 protected:
  FileStoreTest() : path_(folder_ / "data") {
    options_.path = path_;
    options_.reserve_bytes = 1 << 20;
    options_.fsid = fsid_;
    options_.osd = 3;
    EXPECT_TRUE(make_file_store(path_, fsid_, 3));
  }
  ~FileStoreTest() override {
    fake_.heal();
    if (store_) driver_.shutdown(*store_);
  }

  void open() {
    auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  Outcome<std::unique_ptr<ObjectStore>> try_open() {
    return open_file_store(driver_.center(), driver_.buffers(), options_, &fake_);
  }
  void close() {
    driver_.shutdown(*store_);
    store_.reset();
  }
  std::string refusal() {
    auto opened = try_open();
    EXPECT_FALSE(opened);
    return opened ? "" : opened.error().message;
  }
  void edit(const std::string& file, const std::string& from, const std::string& to) {
    std::string text = *read_file(path_ + "/" + file, 1 << 20);
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    text.replace(at, from.size(), to);
    ASSERT_TRUE(write_file_atomically(path_ + "/" + file, as_const_bytes(text)));
  }
  std::string file_of(const ObjectId& id) { return path_ + "/" + ObjectPath(id).full(); }

  TemporaryFolder folder_;
  const std::string path_;
  const Uuid fsid_ = Uuid::random();
  FakeSyscalls fake_;
  FileStoreOptions options_;
  StoreDriver driver_;
  std::unique_ptr<ObjectStore> store_;
  const ObjectId id_{1, "object"};
  const std::vector<std::byte> bytes_ = pattern(100'000, 7);
};

TEST_F(FileStoreTest, KeepsObjectsXattrsAndRecordsOverARestart) {
  open();
  const Uuid uuid = store_->identity().store;
  ASSERT_EQ(driver_.write(*store_, id_, 1000, bytes_), kNone);
  ASSERT_EQ(driver_.set_xattr(*store_, id_, "a", as_const_bytes("b")), kNone);
  ASSERT_EQ(driver_.put_record(*store_, "map", "epoch 7"), kNone);
  close();
  open();
  EXPECT_EQ(store_->identity().store, uuid);
  EXPECT_EQ(store_->identity().osd, 3);
  EXPECT_EQ(driver_.read(*store_, id_, 1000, bytes_.size()), bytes_);
  EXPECT_EQ(*driver_.get_xattr(*store_, id_, "a"), "b");
  EXPECT_EQ(as_text(*store_->get_record("map")), "epoch 7");
}

TEST_F(FileStoreTest, MkfsRefusesAFolderThatIsNotEmpty) {
  const auto again = make_file_store(path_, fsid_, 3);
  ASSERT_FALSE(again);
  EXPECT_NE(again.error().message.find(path_), std::string::npos);
  EXPECT_NE(again.error().message.find("not empty"), std::string::npos);
}

TEST_F(FileStoreTest, OpenRefusesWhatIsNotAStoreAndSaysWhatToDo) {
  options_.path = folder_ / "absent";
  EXPECT_NE(refusal().find("--mkfs"), std::string::npos);
  fs::create_directory(options_.path);
  EXPECT_NE(refusal().find("no identity.json"), std::string::npos);
  EXPECT_TRUE(fs::is_empty(options_.path)) << "nothing is put into a folder that is no store";
}

TEST_F(FileStoreTest, OpenRefusesAnotherClustersAndAnotherServersStore) {
  options_.fsid = Uuid::random();
  EXPECT_NE(refusal().find("belongs to cluster " + fsid_.to_string()), std::string::npos);
  options_.fsid = fsid_;
  options_.osd = 4;
  EXPECT_NE(refusal().find("belongs to osd.3"), std::string::npos);
}

TEST_F(FileStoreTest, OpenRefusesAnIdentityFromTheFutureOrDamaged) {
  edit("identity.json", "\"format\": 1", "\"format\": 2");
  EXPECT_NE(refusal().find("format 2"), std::string::npos);
  edit("identity.json", "\"format\": 2", "\"format\": 1");
  edit("identity.json", "\"xattr-", "\"shiny-");
  EXPECT_NE(refusal().find("shiny-"), std::string::npos);
  edit("identity.json", "\"osd\": 3", "\"osd\": -3");
  EXPECT_NE(refusal().find("damaged"), std::string::npos);
  edit("identity.json", "{", "");
  EXPECT_NE(refusal().find("damaged"), std::string::npos);
}

TEST_F(FileStoreTest, ASecondServerIsKeptOutAndToldWhoIsThere) {
  open();
  EXPECT_NE(refusal().find("in use by process " + std::to_string(::getpid())), std::string::npos);
  close();
  open();
}

TEST_F(FileStoreTest, FallsBackToThreadsWhereIoUringIsRefused) {
  fake_.fail("io_uring_setup", EPERM);
  options_.io = FileStoreOptions::Io::kUring;
  EXPECT_NE(refusal().find("io_uring_disabled"), std::string::npos);
  options_.io = FileStoreOptions::Io::kAuto;
  open();
  const auto big = pattern(3 << 20, 1);
  ASSERT_EQ(driver_.write(*store_, id_, 5, big), kNone);
  EXPECT_EQ(driver_.read(*store_, id_, 5, big.size()), big);
}

TEST_F(FileStoreTest, ShortTransfersAreContinued) {
  options_.io = FileStoreOptions::Io::kThreads;
  open();
  fake_.set_short_transfers();
  for (const std::size_t length : {1UL, 1000UL, 100'000UL}) {
    const auto part = ConstBytes(bytes_).first(length);
    ASSERT_EQ(driver_.write(*store_, id_, 3, part, length == 1000), kNone);
    const auto read = driver_.read(*store_, id_, 3, length);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), read.begin()));
  }
}

TEST_F(FileStoreTest, AFlushOfFewSyncsTheFilesAndTheFolderOfANewName) {
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

TEST_F(FileStoreTest, AFlushAfterARemovalSyncsItsFolder) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  ASSERT_EQ(driver_.flush(*store_), kNone);
  ASSERT_EQ(driver_.remove(*store_, id_), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.flush(*store_), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fsync"});
}

TEST_F(FileStoreTest, AFlushOfManyIsOneSyncfs) {
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

TEST_F(FileStoreTest, FlushesThatArriveTogetherShareASync) {
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

TEST_F(FileStoreTest, FuaIsDurableWithTheNameOfANewObjectAndLeavesNothingToFlush) {
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

TEST_F(FileStoreTest, AFailedSyncIsReportedOnceAsALossAndNeverRetried) {
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
    EXPECT_EQ(error, Errc::kIoError);
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

TEST_F(FileStoreTest, ALossIsRememberedOverRestartsUntilAcknowledged) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.fail("fdatasync", EIO);
  ASSERT_EQ(driver_.flush(*store_), Errc::kIoError);
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

TEST_F(FileStoreTest, AnErrorThatNobodyWaitedForIsReportedByTheNextFlush) {
  options_.max_open_files = 1;
  open();
  auto has_failed = std::make_shared<std::atomic<bool>>(false);
  fake_.set_rule([has_failed](const std::string& call) {
    return call == "fdatasync" && !has_failed->exchange(true) ? -EIO : 0;
  });
  for (int i = 0; i < 6; ++i) {
    ASSERT_EQ(driver_.write(*store_, {1, "o" + std::to_string(i)}, 0, bytes_), kNone);
  }
  EXPECT_EQ(driver_.flush(*store_), Errc::kIoError);
  EXPECT_EQ(driver_.flush(*store_), kNone);
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreTest, AFailedFuaWriteIsALossAndTheNextFlushSaysSoToo) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  fake_.fail("write", EIO);
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, true), Errc::kIoError);
  EXPECT_TRUE(store_->may_have_lost_writes());
  fake_.heal();
  EXPECT_EQ(driver_.flush(*store_), Errc::kIoError);
  EXPECT_EQ(driver_.flush(*store_), kNone);
}

TEST_F(FileStoreTest, AFuaWriteThatFindsNoRoomIsNoLoss) {
  open();
  fake_.fail("write", ENOSPC);
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, true), Errc::kNoSpace);
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_, false), Errc::kNoSpace);
  EXPECT_FALSE(store_->may_have_lost_writes());
}

TEST_F(FileStoreTest, AFailedFolderSyncIsALossOfAnyObject) {
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
  EXPECT_EQ(driver_.flush(*store_), Errc::kIoError);
  EXPECT_TRUE(is_told);
}

TEST_F(FileStoreTest, AKilledServersWritesSurviveOnTheSameBootAndMount) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  store_.reset();  // no shutdown
  fake_.take_calls();
  open();
  EXPECT_EQ(fake_.count("syncfs"), 1U);
  EXPECT_FALSE(store_->may_have_lost_writes());
  EXPECT_EQ(driver_.read(*store_, id_, 0, bytes_.size()), bytes_);
}

TEST_F(FileStoreTest, AnotherBootIsALossUnlessTheShutdownWasClean) {
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

TEST_F(FileStoreTest, AFailedSyncAtStartIsALoss) {
  fake_.fail("syncfs", EIO);
  open();
  EXPECT_TRUE(store_->may_have_lost_writes());
}

TEST_F(FileStoreTest, ReplaceSyncsTheBytesBeforeTheNameAndTheNameBeforeItEnds) {
  open();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  fake_.take_calls();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  EXPECT_EQ(fake_.take_calls(), (std::vector<std::string>{"write", "fsync", "rename", "fsync"}));
  ASSERT_EQ(driver_.put_record(*store_, "k", "v"), kNone);
  EXPECT_EQ(fake_.take_calls(), (std::vector<std::string>{"write", "fsync", "rename", "fsync"}));
}

TEST_F(FileStoreTest, AFailedReplaceLeavesTheOldObjectAndNoTemporary) {
  open();
  ASSERT_EQ(driver_.replace(*store_, id_, bytes_), kNone);
  for (const auto& [call, error, expected] :
       {std::tuple("write", ENOSPC, Errc::kNoSpace), std::tuple("fsync", EIO, Errc::kIoError)}) {
    fake_.fail(call, error);
    EXPECT_EQ(driver_.replace(*store_, id_, pattern(10, 1)), expected);
    fake_.heal();
    EXPECT_EQ(driver_.read(*store_, id_, 0, bytes_.size()), bytes_);
    EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
  }
  EXPECT_FALSE(store_->may_have_lost_writes());
}

TEST_F(FileStoreTest, SymbolicLinksAreNotFollowed) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  close();
  const std::string outside = folder_ / "outside";
  std::ofstream(outside) << "precious";
  fs::remove(file_of(id_));
  fs::create_symlink(outside, file_of(id_));
  const ObjectId second{2, "object"};
  fs::create_directory(folder_ / "elsewhere");
  fs::create_directory_symlink(folder_ / "elsewhere", path_ + "/pool.2");
  open();
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_), Errc::kIoError);
  EXPECT_EQ(driver_.write(*store_, second, 0, bytes_), Errc::kIoError);
  EXPECT_EQ(driver_.replace(*store_, second, bytes_), Errc::kIoError);
  EXPECT_EQ(*read_file(outside, 100), "precious");
  EXPECT_TRUE(fs::is_empty(folder_ / "elsewhere"));
}

TEST_F(FileStoreTest, StrangersAreLeftAloneAndTemporariesAreNot) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  close();
  std::ofstream(path_ + "/notes.txt") << "mine";
  std::ofstream(path_ + "/meta/notes") << "mine";
  std::ofstream(fs::path(file_of(id_)).parent_path() / "stranger") << "mine";
  std::ofstream(fs::path(file_of(id_)).parent_path() / "o.not-its-folder") << "mine";
  std::ofstream(path_ + "/pool.1/file") << "mine";
  std::ofstream(path_ + "/tmp/object.1.half") << "ours";
  open();
  EXPECT_EQ(*driver_.list(*store_, 1, "", 100), std::vector<std::string>{id_.name});
  EXPECT_TRUE(store_->record_keys("").empty());
  EXPECT_TRUE(fs::exists(path_ + "/notes.txt"));
  EXPECT_TRUE(fs::is_empty(path_ + "/tmp"));
}

TEST_F(FileStoreTest, FewOpenFilesAreEnoughForManyObjects) {
  options_.max_open_files = 2;
  open();
  for (int round = 0; round < 2; ++round) {
    int left = 64;
    bool is_done = false;
    for (int i = 0; i < 64; ++i) {
      store_->write({1, "o" + std::to_string(i)}, 0, bytes_, false, [&](std::error_code error) {
        EXPECT_EQ(error, kNone);
        is_done = --left == 0;
      });
    }
    driver_.run_until(is_done);
    ASSERT_EQ(driver_.flush(*store_), kNone);
  }
  ASSERT_EQ(driver_.read(*store_, {1, "o1"}, 0, bytes_.size()), bytes_);
  std::size_t open_objects = 0;
  for (const auto& fd : fs::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    if (fs::read_symlink(fd, gone).string().find(path_ + "/pool.") == 0) ++open_objects;
  }
  EXPECT_LE(open_objects, 5U) << "twice the limit, and the one just read";
}

}  // namespace
}  // namespace lunar::osd::test
