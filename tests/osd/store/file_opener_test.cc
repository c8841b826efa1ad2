// SPDX-License-Identifier: LGPL-2.1-or-later
//
// FileOpener, and the listing of the objects whose files it opened.
#include "osd/store/file_opener.h"

#include <fcntl.h>

#include <cerrno>
#include <optional>

#include "osd/store/object_listing.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

struct FakeLossSink final : LossSink {
  void on_write_back_error(std::error_code, std::vector<ObjectId>,
                           UniqueFunction<void()> then) override {
    then();
  }
};

class FileOpenerTest : public ::testing::Test {
 protected:
  FileOpenerTest() { EXPECT_TRUE(make_file_store(path_, Uuid::random(), 0)); }
  ~FileOpenerTest() override {
    // A flush in the background may run yet.
    bool is_flushed = false;
    flusher_.flush([&](std::error_code) { is_flushed = true; });
    driver_.run_until(is_flushed);
  }
  Result<FileRef> open(const ObjectId& id, bool may_create) {
    std::optional<Result<FileRef>> opened;
    bool is_done = false;
    files_.open(id, may_create, [&](Result<FileRef> file) {
      opened = std::move(file);
      is_done = true;
    });
    driver_.run_until(is_done);
    return *opened;
  }
  Result<ObjectNames::Names> list(const std::string& cursor, uint32_t limit,
                                  ObjectNames::NameFilter contains) {
    ObjectListing listing{1, cursor, limit, std::move(contains)};
    return read_listing(tree_, path_, listing);
  }

  StoreDriver driver_;
  TemporaryFolder folder_;
  const std::string path_ = folder_ / "data";
  FakeSyscalls fake_;
  // Made by the constructor's body before anything looks into it.
  const StoreTree tree_{
      fake_, [this] {
        EXPECT_TRUE(make_directories(path_, 0700));
        return UniqueFd(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      }()};
  BlockingPool pool_{driver_.center(), 2};
  std::unique_ptr<IoEngine> engine_ = make_pool_engine(pool_, fake_);
  FakeLossSink sink_;
  Flusher flusher_{pool_, *engine_, tree_, sink_, 32};
  FileOpener files_{pool_, tree_, flusher_, 2};
  const ObjectId id_{1, "object"};
};

TEST_F(FileOpenerTest, AnAbsentObjectIsMadeOnlyIfItMayBe) {
  EXPECT_EQ(open(id_, false).error(), system_error(ENOENT));
  const auto made = open(id_, true);
  ASSERT_TRUE(made);
  EXPECT_TRUE((*made)->is_entry_dirty) << "its name is not durable yet";
  EXPECT_EQ(flusher_.dirty_files(), 1U);
}

TEST_F(FileOpenerTest, AnOpenFileIsSharedAndAForgottenOneIsOpenedAnew) {
  const FileRef first = *open(id_, true);
  EXPECT_EQ(*open(id_, false), first);
  EXPECT_EQ(files_.forget(id_), first);
  EXPECT_EQ(files_.forget(id_), nullptr);
  EXPECT_EQ(flusher_.dirty_files(), 0U) << "nor is it flushed";
  const FileRef again = *open(id_, false);
  EXPECT_NE(again, first);
  EXPECT_FALSE(again->is_entry_dirty);
}

TEST_F(FileOpenerTest, AtTwiceTheLimitOpensWaitForAFlushAndThenGoOn) {
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(open({1, "o" + std::to_string(i)}, true));
  EXPECT_LE(flusher_.dirty_files(), 5U);
}

TEST_F(FileOpenerTest, AListingHasTheFirstNamesAfterTheCursorThatTheFilterAdmits) {
  for (const char* name : {"e", "b", "d", "a", "c"}) ASSERT_TRUE(open({1, name}, true));
  ASSERT_TRUE(open({2, "b2"}, true));
  const auto any = [](const std::string&) { return true; };
  EXPECT_EQ(*list("", 100, any), (ObjectNames::Names{"a", "b", "c", "d", "e"}));
  EXPECT_EQ(*list("a", 2, any), (ObjectNames::Names{"b", "c"}));
  EXPECT_EQ(*list("", 100, [](const std::string& name) { return name != "c"; }),
            (ObjectNames::Names{"a", "b", "d", "e"}));
  EXPECT_TRUE(list("e", 100, any)->empty());
  EXPECT_TRUE(list("", 0, any)->empty());
}

}  // namespace
}  // namespace lunar::osd::test
