// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Where the work is done, what it takes of the disk, and what a failing one leaves behind. What the
// names and attributes are is object_store_test.cc, how a replace survives a crash crash_test.cc.
#include "osd/store/file_names.h"

#include <filesystem>
#include <semaphore>

#include "tests/osd/store/file_parts_fixture.h"

namespace lunar::osd::test {
namespace {

namespace fs = std::filesystem;
using objecter::OsdErrc;

constexpr std::size_t kMostMetadata = 1 << 20;  // what takes from the reserve at the most

class FileNamesTest : public FilePartsTest {
 protected:
  using FilePartsTest::FilePartsTest;
  std::error_code remove() {
    return driver_.wait([&](auto done) { names_.remove(id_, std::move(done)); });
  }
  std::error_code remove_durably() {
    return driver_.wait([&](auto done) { names_.remove_durably(id_, std::move(done)); });
  }
  std::error_code replace(ConstBytes from) {
    return driver_.wait([&](auto done) { names_.replace(id_, from, std::move(done)); });
  }
  std::error_code set_xattr(const std::string& name, std::string_view value) {
    return driver_.wait(
        [&](auto done) { names_.set_xattr(id_, name, as_const_bytes(value), std::move(done)); });
  }
  Result<ObjectNames::AttributeValue> get_xattr(const std::string& name) {
    return driver_.wait<Result<ObjectNames::AttributeValue>>(
        [&](auto done) { names_.get_xattr(id_, name, std::move(done)); });
  }
  // Keeps the object's file open, as a store does that has used it.
  std::weak_ptr<ObjectFile> open() {
    return driver_.wait<Result<FileRef>>([&](auto done) { open_later(std::move(done)); }).value();
  }
  bool temporaries_are_gone() { return fs::is_empty(path_ + "/tmp"); }
  // Whether a descriptor of this process has the object's file open.
  bool is_open_anywhere() {
    for (const auto& fd : fs::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string target = fs::read_symlink(fd, gone).string();
      if (target.starts_with(path_ + "/" + ObjectPath(id_).full())) return true;
    }
    return false;
  }

  FileNames names_{environment_, path_};
  const std::vector<std::byte> bytes_ = pattern(5000, 7);

 private:
  template <typename Done>
  void open_later(Done done) {
    driver_.center().post(UniqueFunction<void()>([this, done = std::move(done)]() mutable {
      files_.open(id_, true, [done = std::move(done)](Result<FileRef> file) mutable {
        done(std::move(file));
      });
    }));
  }
};

class FileNamesSidecarTest : public FileNamesTest {
 protected:
  FileNamesSidecarTest() : FileNamesTest(AttributeHome::kSidecar) {}
};

TEST_F(FileNamesTest, NothingIsDoneOnTheLoop) {
  make_object(id_, bytes_);
  auto on_loop = std::make_shared<std::atomic<int>>(0);
  fake_.set_rule([on_loop, loop = std::this_thread::get_id()](const std::string&) {
    if (std::this_thread::get_id() == loop) ++*on_loop;
    return 0;
  });
  ASSERT_EQ(replace(bytes_), kNone);
  ASSERT_EQ(remove_durably(), kNone);
  EXPECT_EQ(fake_.count("rename"), 1U);
  EXPECT_EQ(*on_loop, 0);
}

TEST_F(FileNamesTest, AWalkThroughThePoolKeepsNoThreadFromOthers) {
  make_object(id_, bytes_);
  std::binary_semaphore may_go_on(0);
  int listed = 0;
  bool is_over = false;
  for (int i = 0; i < 4; ++i) {
    const auto blocks_once = [&may_go_on, is_first = i == 0](std::string_view) {
      if (is_first) may_go_on.acquire();
      return true;
    };
    names_.list(1, "", 10, blocks_once,
                [&](Result<ObjectNames::Names>) { is_over = ++listed == 4; });
  }
  const std::vector<std::byte> other = pattern(100, 3);
  EXPECT_EQ(replace(other), kNone);
  EXPECT_EQ(listed, 0) << "the walks wait for each other, and nobody for them";
  may_go_on.release();
  driver_.run_until(is_over);
}

// --- the disk's space ---

TEST_F(FileNamesTest, ARemovalThatFindsNoSpaceTakesFromTheReserve) {
  make_object(id_, bytes_);
  fail_nth("unlink", 1, ENOSPC);
  EXPECT_EQ(remove(), kNone);
  EXPECT_FALSE(reserve_.is_full());
  EXPECT_FALSE(content_of(id_));
}

TEST_F(FileNamesTest, AReplaceByMetadataThatFindsNoSpaceTakesFromTheReserve) {
  fail_nth("write", 1, ENOSPC);
  fake_.set_free_bytes(0);
  const auto most = pattern(kMostMetadata, 1);
  EXPECT_EQ(replace(most), kNone);
  EXPECT_FALSE(reserve_.is_full());
  EXPECT_TRUE(holds(id_, most));
}

TEST_F(FileNamesTest, AReplaceByDataIsRefusedWhereDataHasNoSpace) {
  ASSERT_EQ(replace(bytes_), kNone);
  fake_.take_calls();
  fake_.set_free_bytes(0);
  EXPECT_EQ(replace(pattern(kMostMetadata + 1, 1)), OsdErrc::kNoSpace);
  EXPECT_TRUE(fake_.take_calls().empty()) << "before anything is touched";
  EXPECT_TRUE(holds(id_, bytes_));
}

// The file system had said that there is room, but others use it too.
TEST_F(FileNamesTest, AReplaceByDataTakesNothingFromTheReserve) {
  fail_nth("write", 1, ENOSPC);
  EXPECT_EQ(replace(pattern(kMostMetadata + 1, 1)), OsdErrc::kNoSpace);
  EXPECT_TRUE(reserve_.is_full());
  EXPECT_FALSE(content_of(id_));
  EXPECT_TRUE(temporaries_are_gone());
}

TEST_F(FileNamesTest, AReplaceGivesBackWhatItClaimedOfTheDiskHoweverItEnds) {
  const auto data = pattern(kMostMetadata + 1, 1);
  // There is room for one at a time.
  fake_.set_free_bytes(reserve_.kept_free() + data.size() + (16 << 10));
  for (int i = 0; i < 3; ++i) {
    fake_.fail("rename", EIO);
    EXPECT_EQ(replace(data), OsdErrc::kIoError);
    fake_.heal();
    EXPECT_EQ(replace(data), kNone);
  }
  bool is_drained = false;
  calls_.close([&] { is_drained = true; });
  EXPECT_TRUE(is_drained);
  EXPECT_EQ(replace(data), OsdErrc::kShutdown);
  EXPECT_TRUE(space_.claim(data.size())) << "a refused one claims nothing";
  space_.release(data.size());
}

TEST_F(FileNamesSidecarTest, AnAttributeThatFindsNoSpaceTakesFromTheReserve) {
  make_object(id_, bytes_);
  fail_nth("write", 1, ENOSPC);
  EXPECT_EQ(set_xattr("a", "1"), kNone);
  EXPECT_FALSE(reserve_.is_full());
  EXPECT_EQ(as_text(*get_xattr("a")), "1");
}

// --- removing ---

TEST_F(FileNamesTest, AtDoneTheFileOfARemovedObjectIsClosed) {
  const auto file = open();
  EXPECT_TRUE(is_open_anywhere());
  ASSERT_EQ(remove(), kNone);
  EXPECT_TRUE(file.expired());
  EXPECT_FALSE(is_open_anywhere());
  EXPECT_EQ(flusher_.dirty_files(), 0U);
}

TEST_F(FileNamesTest, AtDoneTheOldFileOfAReplacedObjectIsClosed) {
  const auto file = open();
  ASSERT_EQ(replace(bytes_), kNone);
  EXPECT_TRUE(file.expired());
  EXPECT_FALSE(is_open_anywhere());
}

TEST_F(FileNamesTest, ADurableRemovalMakesAnEarlierOneDurableToo) {
  make_object(id_, bytes_);
  ASSERT_EQ(remove(), kNone);
  fake_.take_calls();
  ASSERT_EQ(remove_durably(), kNone);
  EXPECT_EQ(fake_.count("fsync"), 1U);
}

TEST_F(FileNamesTest, ARemovalThatNeedNotBeDurableCostsNoSync) {
  make_object(id_, bytes_);
  ASSERT_EQ(remove(), kNone);
  EXPECT_EQ(fake_.count("fsync"), 0U);
}

TEST_F(FileNamesTest, AFailedFolderSyncOfARemovalOrReplaceIsALoss) {
  for (const bool is_removal : {true, false}) {
    make_object(id_, bytes_);
    lost_.clear();
    fail_nth("fsync", is_removal ? 1 : 2, EIO);  // the first of a replace is that of its bytes
    std::vector<ObjectId> lost_at_done;
    const auto error = driver_.wait([&](auto done) {
      StoreDone note = [&, done = std::move(done)](std::error_code got) mutable {
        lost_at_done = lost_;
        done(got);
      };
      if (is_removal) {
        names_.remove_durably(id_, std::move(note));
      } else {
        names_.replace(id_, bytes_, std::move(note));
      }
    });
    EXPECT_EQ(error, OsdErrc::kIoError);
    EXPECT_EQ(lost_at_done, std::vector<ObjectId>{id_});
    fake_.heal();
    EXPECT_TRUE(flush()) << "the next flush reports it too";
  }
}

// The sidecar goes first, and its removal is a change of the folder.
TEST_F(FileNamesSidecarTest, ARemovalThatGetsHalfwayLeavesItsFolderToTheFlush) {
  make_object(id_, bytes_);
  ASSERT_EQ(set_xattr("a", "1"), kNone);
  ASSERT_EQ(flush(), kNone);
  fail_nth("unlink", 2, EIO);
  EXPECT_EQ(remove(), OsdErrc::kIoError);
  EXPECT_TRUE(holds(id_, bytes_));
  EXPECT_EQ(get_xattr("a").error(), OsdErrc::kNoSuchAttribute);
  fake_.take_calls();
  ASSERT_EQ(flush(), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fsync"});
}

// --- replacing ---

TEST_F(FileNamesTest, AReplaceThatCannotReadTheOldAttributesLeavesTheOldObject) {
  ASSERT_EQ(replace(bytes_), kNone);
  // An object that is no plain file.
  const std::string file = path_ + "/" + ObjectPath(id_).full();
  fs::remove(file);
  fs::create_directory(file);
  EXPECT_EQ(replace(pattern(10, 1)), OsdErrc::kIoError);
  EXPECT_TRUE(fs::is_directory(file));
  EXPECT_TRUE(temporaries_are_gone());
}

TEST_F(FileNamesTest, AnEmptyReplaceLeavesAnEmptyObject) {
  make_object(id_, bytes_);
  ASSERT_EQ(replace({}), kNone);
  EXPECT_EQ(content_of(id_), "");
}

// --- attributes ---

TEST_F(FileNamesTest, AnAttributeIsCopiedBeforeTheCallReturns) {
  std::error_code ended = OsdErrc::kBusy;
  bool is_done = false;
  {
    std::string name(kMaxAttributeNameBytes, 'n');
    std::string value(kMaxAttributeBytes, 'v');
    names_.set_xattr(id_, name, as_const_bytes(value), [&](std::error_code error) {
      ended = error;
      is_done = true;
    });
    std::ranges::fill(name, 'x');
    std::ranges::fill(value, 'x');
  }
  driver_.run_until(is_done);
  EXPECT_EQ(ended, kNone);
  EXPECT_EQ(as_text(*get_xattr(std::string(kMaxAttributeNameBytes, 'n'))),
            std::string(kMaxAttributeBytes, 'v'));
}

TEST_F(FileNamesTest, ANameThatIsTooLongIsRefusedByBothCalls) {
  const std::string name(kMaxAttributeNameBytes + 1, 'n');
  EXPECT_EQ(set_xattr(name, "1"), OsdErrc::kInvalid);
  EXPECT_EQ(get_xattr(name).error(), OsdErrc::kInvalid);
  EXPECT_FALSE(content_of(id_)) << "no object was made for it";
}

// fdatasync might leave an attribute out.
TEST_F(FileNamesTest, TheFlushAfterAnAttributeSyncsAllOfTheFile) {
  make_object(id_, bytes_);
  ASSERT_EQ(set_xattr("a", "1"), kNone);
  fake_.take_calls();
  ASSERT_EQ(flush(), kNone);
  EXPECT_EQ(fake_.take_calls(), std::vector<std::string>{"fsync"});
}

TEST_F(FileNamesSidecarTest, TheFlushAfterAnAttributeSyncsTheFolderOfTheSidecar) {
  make_object(id_, bytes_);
  ASSERT_EQ(set_xattr("a", "1"), kNone);
  fake_.take_calls();
  ASSERT_EQ(flush(), kNone);
  EXPECT_EQ(fake_.take_calls(), (std::vector<std::string>{"fsync", "fsync"}));
}

TEST_F(FileNamesSidecarTest, ADamagedSidecarIsAnErrorAndNotAbsent) {
  make_object(id_, bytes_);
  ASSERT_EQ(set_xattr("a", "1"), kNone);
  const ObjectPath path(id_);
  ASSERT_TRUE(write_file_atomically(path_ + "/" + path.folder + "/" + path.sidecar(),
                                    as_const_bytes("no sidecar")));
  EXPECT_EQ(get_xattr("a").error(), OsdErrc::kIoError);
  EXPECT_EQ(set_xattr("b", "1"), OsdErrc::kIoError) << "nor is it overwritten";
}

// --- listing ---

TEST_F(FileNamesTest, AFilterIsAskedOnAThreadAndDestroyedOnTheLoop) {
  make_object(id_, bytes_);
  const auto loop = std::this_thread::get_id();
  std::atomic<bool> was_asked_on_loop = true;
  std::thread::id destroyed_on;
  bool is_destroyed = false;
  std::shared_ptr<void> owned(nullptr, [&](void*) {
    destroyed_on = std::this_thread::get_id();
    is_destroyed = true;
  });
  ObjectNames::NameFilter filter = [&, owned = std::move(owned)](const std::string&) {
    was_asked_on_loop = std::this_thread::get_id() == loop;
    return true;
  };
  auto names = driver_.wait<Result<ObjectNames::Names>>(
      [&](auto done) { names_.list(1, "", 10, std::move(filter), std::move(done)); });
  ASSERT_TRUE(names);
  EXPECT_EQ(*names, ObjectNames::Names{id_.name});
  EXPECT_FALSE(was_asked_on_loop);
  driver_.run_until(is_destroyed);
  EXPECT_EQ(destroyed_on, loop);
}

TEST_F(FileNamesTest, AListingThatCannotBeReadIsAnErrorAndNotEmpty) {
  make_object(id_, bytes_);
  fake_.fail_open(EMFILE);
  ObjectNames::NameFilter any = [](const std::string&) { return true; };
  const auto names = driver_.wait<Result<ObjectNames::Names>>(
      [&](auto done) { names_.list(1, "", 10, std::move(any), std::move(done)); });
  ASSERT_FALSE(names);
  EXPECT_EQ(names.error(), OsdErrc::kBusy);
}

TEST_F(FileNamesTest, ACloseWaitsForAReplaceUnderWay) {
  std::vector<std::error_code> ended;
  names_.replace(id_, bytes_, [&](std::error_code error) { ended.push_back(error); });
  bool is_drained = false;
  calls_.close([&] { is_drained = true; });
  EXPECT_FALSE(is_drained);
  driver_.run_until(is_drained);
  turn();
  EXPECT_EQ(ended, std::vector<std::error_code>{kNone});
  EXPECT_TRUE(holds(id_, bytes_));
}

}  // namespace
}  // namespace lunar::osd::test
