// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Processes that die in the middle of a call, and a disk that is really full.
#include <filesystem>

#include "osd/store/file_store.h"
#include "tests/osd/store/child.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

TEST(FileStoreCrashTest, ReplaceIsAllOrNothingWhereverTheServerDies) {
  const TemporaryFolder folder;
  FileStoreOptions options;
  options.path = folder / "data";
  options.reserve_bytes = 0;
  ASSERT_TRUE(make_file_store(options.path, Uuid::random(), 0));
  const ObjectId id{1, "object"};
  const auto before = pattern(90'000, 1);
  const auto after = pattern(5000, 2);
  StoreDriver driver;
  std::string seen;  // for each death, the object afterwards
  for (int call = 1; call < 20; ++call) {
    auto store = open_file_store(driver.center(), driver.buffers(), options);
    ASSERT_TRUE(store) << store.error().message;
    ASSERT_EQ(driver.replace(**store, id, before), std::error_code{});
    driver.shutdown(**store);
    store->reset();

    const ChildResult child = run_child("replace", {options.path, std::to_string(call)});
    ASSERT_TRUE(child.exit_status == 0 || child.exit_status == kDiedOnPurpose) << child.output;

    store = open_file_store(driver.center(), driver.buffers(), options);
    ASSERT_TRUE(store) << store.error().message;
    const auto size = driver.stat(**store, id)->size;
    ASSERT_TRUE(size == before.size() || size == after.size()) << size;
    ASSERT_EQ(driver.read(**store, id, 0, size), size == before.size() ? before : after);
    EXPECT_TRUE(std::filesystem::is_empty(options.path + "/tmp"));
    driver.shutdown(**store);
    seen += size == before.size() ? 'b' : 'a';
    if (child.exit_status == 0) break;
  }
  // Before write, fsync and rename the old object; before the folder's fsync, and at the end, the
  // new.
  EXPECT_EQ(seen, "bbbaa");
}

class FullDiskTest : public ::testing::TestWithParam<const char*> {};

TEST_P(FullDiskTest, DataIsRefusedAndMetadataAndFreeingGoOn) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "data");
  const ChildResult child = run_child("fill", {folder / "data", GetParam()});
  EXPECT_EQ(child.exit_status, 0) << child.output;
}

TEST(FileStoreFullDiskTest, DataTakesNothingOfTheReserveAndWhatNeedsNoSpaceGoesOn) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "data");
  const ChildResult child = run_child("full", {folder / "data"});
  EXPECT_EQ(child.exit_status, 0) << child.output;
}

INSTANTIATE_TEST_SUITE_P(Engines, FullDiskTest, ::testing::Values("uring", "threads"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lunar::osd::test
