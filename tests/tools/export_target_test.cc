// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/export_target.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/common/temp_folder.h"

namespace lunar::tools {
namespace {

class ExportTargetTest : public testing::Test {
 protected:
  Outcome<ExportTarget> open(bool may_overwrite) {
    auto target = ExportTarget::open(path_, 5, may_overwrite);
    const std::string_view data = "whole";
    const bool is_written = target && !write_all(target->fd(), as_const_bytes(data));
    EXPECT_EQ(is_written, target.has_value());
    return target;
  }
  void put(const std::string& text) { std::ofstream(path_) << text; }
  std::string content() const { return read_file(path_, 100).value_or("nothing"); }
  std::size_t num_files() const {
    const std::filesystem::directory_iterator files(folder_.path());
    return static_cast<std::size_t>(std::distance(begin(files), end(files)));
  }

  test::TempFolder folder_;
  const std::string path_ = folder_.path() + "/disk";
};

TEST_F(ExportTargetTest, GivesAFileItsNameWhenItIsWhole) {
  auto target = open(false);
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_FALSE(std::filesystem::exists(path_));
  const auto committed = target->commit();
  ASSERT_TRUE(committed) << committed.error().message;
  EXPECT_EQ(content(), "whole");
  EXPECT_EQ(num_files(), 1u);
}

TEST_F(ExportTargetTest, LeavesNothingOfAFileThatIsNotWhole) {
  {
    const auto target = open(false);
    ASSERT_TRUE(target) << target.error().message;
    EXPECT_EQ(num_files(), 1u);
  }
  EXPECT_EQ(num_files(), 0u);
}

TEST_F(ExportTargetTest, RefusesAFileThatExists) {
  put("old");
  const auto target = open(false);
  ASSERT_FALSE(target);
  EXPECT_EQ(target.error().code, std::errc::file_exists);
  EXPECT_NE(target.error().message.find("--overwrite"), std::string::npos);
}

TEST_F(ExportTargetTest, LeavesAFileThatWasMadeMeanwhile) {
  {
    auto target = open(false);
    put("other");
    const auto committed = target->commit();
    ASSERT_FALSE(committed);
    EXPECT_EQ(committed.error().code, std::errc::file_exists);
  }
  EXPECT_EQ(content(), "other");
  EXPECT_EQ(num_files(), 1u);
}

TEST_F(ExportTargetTest, ReplacesAFileOnlyAtTheEnd) {
  put("old");
  auto target = open(true);
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_EQ(content(), "old");
  ASSERT_TRUE(target->commit());
  EXPECT_EQ(content(), "whole");
}

TEST_F(ExportTargetTest, ReplacesWhatALinkLeadsTo) {
  const std::string link = folder_.path() + "/link";
  put("old");
  std::filesystem::create_symlink(path_, link);
  auto target = ExportTarget::open(link, 5, true);
  ASSERT_TRUE(target) << target.error().message;
  ASSERT_TRUE(target->commit());
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(content(), "");
}

TEST_F(ExportTargetTest, WritesADeviceWhereItIs) {
  auto target = ExportTarget::open("/dev/null", 5, false);
  ASSERT_TRUE(target) << target.error().message;
  EXPECT_FALSE(target->is_new_file());
  EXPECT_TRUE(target->commit());
}

}  // namespace
}  // namespace lunar::tools
