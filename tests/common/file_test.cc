// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/file.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/common/temp_folder.h"

namespace lunar {
namespace {

class FileTest : public testing::Test {
 protected:
  test::TempFolder folder_;
};

mode_t mode_of(const std::string& path) {
  struct stat status {};
  EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
  return status.st_mode & 07777;
}

TEST_F(FileTest, ReadsUpToItsLimit) {
  const auto path = folder_.write("f", "12345");
  EXPECT_EQ(read_file(path, 5).value(), "12345");
  const auto refused = read_file(path, 4);
  ASSERT_FALSE(refused);
  EXPECT_TRUE(refused.error().code == std::errc::file_too_large);
  EXPECT_NE(refused.error().message.find(path), std::string::npos);
}

TEST_F(FileTest, ReadsAFileThatDoesNotTellItsSize) {
  EXPECT_GT(read_file("/proc/self/status", 1 << 20).value().size(), 100u);
  EXPECT_FALSE(read_file("/proc/self/status", 10));
  EXPECT_EQ(read_file(folder_.write("empty", ""), 0).value(), "");
}

TEST_F(FileTest, ReadsAFileLargerThanOneStep) {
  const std::string content(300'000, 'x');
  EXPECT_EQ(read_file(folder_.write("f", content), content.size()).value(), content);
}

TEST_F(FileTest, AMissingFileIsNamed) {
  const auto missing = read_file(folder_ / "none", 10);
  ASSERT_FALSE(missing);
  EXPECT_TRUE(missing.error().code == std::errc::no_such_file_or_directory);
  EXPECT_NE(missing.error().message.find("/none: cannot open"), std::string::npos);
}

TEST_F(FileTest, AtomicWriteReplacesContentAndMode) {
  const auto path = folder_.write("f", "old");
  ASSERT_TRUE(write_file_atomically(path, as_const_bytes("new"), 0600));
  EXPECT_EQ(folder_.read("f"), "new");
  EXPECT_EQ(mode_of(path), 0600u);
}

TEST_F(FileTest, AFailedWriteLeavesTheOldContentAndNoTemporary) {
  std::filesystem::create_directories(folder_ / "target/inside");  // cannot be renamed over
  const auto failed = write_file_atomically(folder_ / "target", as_const_bytes("new"));
  ASSERT_FALSE(failed);
  EXPECT_NE(failed.error().message.find("cannot replace"), std::string::npos);
  int entries = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    ++entries;
  }
  EXPECT_EQ(entries, 1);
}

TEST_F(FileTest, WriteIntoAMissingFolderIsAnError) {
  EXPECT_FALSE(write_file_atomically(folder_ / "no/f", as_const_bytes("x")));
}

TEST_F(FileTest, MakesAllMissingParents) {
  ASSERT_TRUE(make_directories(folder_ / "a/b/c", 0700));
  EXPECT_TRUE(std::filesystem::is_directory(folder_ / "a/b/c"));
  EXPECT_EQ(mode_of(folder_ / "a/b"), 0700u);
  EXPECT_TRUE(make_directories(folder_ / "a/b/c/"));  // again is success
}

TEST_F(FileTest, AFileInTheWayOfAFolderIsNamed) {
  const auto path = folder_.write("f", "");
  const auto failed = make_directories(path);
  ASSERT_FALSE(failed);
  EXPECT_TRUE(failed.error().code == std::errc::not_a_directory);
}

TEST_F(FileTest, AUniqueFdClosesOnce) {
  int fds[2];
  ASSERT_EQ(::pipe2(fds, O_CLOEXEC), 0);
  UniqueFd first(fds[0]);
  const UniqueFd writer(fds[1]);
  UniqueFd second = std::move(first);
  EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that is the test
  EXPECT_EQ(second.get(), fds[0]);
  second.reset();
  EXPECT_EQ(::fcntl(fds[0], F_GETFD), -1);
  EXPECT_NE(::fcntl(fds[1], F_GETFD), -1);
}

TEST(ParentDirectoryTest, Paths) {
  EXPECT_EQ(parent_directory("/a/b/c"), "/a/b");
  EXPECT_EQ(parent_directory("/a/b/"), "/a");
  EXPECT_EQ(parent_directory("/a"), "/");
  EXPECT_EQ(parent_directory("/"), "/");
  EXPECT_EQ(parent_directory("a"), ".");
  EXPECT_EQ(parent_directory("a//b"), "a");
}

}  // namespace
}  // namespace lunar
