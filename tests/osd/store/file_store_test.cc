// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Behaviour of the file store alone: identity, locking, engines, unexpected files in its folders.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "tests/osd/store/file_store_fixture.h"

namespace lunar::osd::test {
namespace {

namespace fs = std::filesystem;
using objecter::OsdErrc;

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
  EXPECT_EQ(driver_.write(*store_, id_, 0, bytes_), OsdErrc::kIoError);
  EXPECT_EQ(driver_.write(*store_, second, 0, bytes_), OsdErrc::kIoError);
  EXPECT_EQ(driver_.replace(*store_, second, bytes_), OsdErrc::kIoError);
  EXPECT_EQ(*read_file(outside, 100), "precious");
  EXPECT_TRUE(fs::is_empty(folder_ / "elsewhere"));
}

TEST_F(FileStoreTest, FilesOfOthersAreLeftAloneAndTemporariesAreNot) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes_), kNone);
  close();
  std::ofstream(path_ + "/notes.txt") << "mine";
  std::ofstream(path_ + "/meta/notes") << "mine";
  std::ofstream(fs::path(file_of(id_)).parent_path() / "foreign") << "mine";
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
