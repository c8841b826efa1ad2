// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bstore_plugin/lun/backing_store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace lunar::bstore_plugin {
namespace {

constexpr std::chrono::seconds kLong{60};

class BackingStoreTest : public ::testing::Test {
 protected:
  BackingStoreTest()
      : folder_(::testing::TempDir() + "backing_store_test." + std::to_string(::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~BackingStoreTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& content) const {
    std::ofstream(path()) << content;
    return path();
  }
  std::string path() const { return folder_ + "/lun"; }
  // POOL/IMAGE, or the sentence.
  static std::string found(const std::string& backing_store, const std::string& pool = {}) {
    const auto spec = parse_backing_store(backing_store, pool, kLong);
    return spec ? spec->to_string() : spec.error().message;
  }

  const std::string folder_;
};

TEST_F(BackingStoreTest, TakesTheNameOfAnImage) {
  EXPECT_EQ(found("rbd/disk1"), "rbd/disk1");
  EXPECT_EQ(found("disk1", "rbd"), "rbd/disk1");
}

TEST_F(BackingStoreTest, TakesAFileThatNamesAnImage) {
  EXPECT_EQ(found(write("lunar:rbd/disk1\n")), "rbd/disk1");
  EXPECT_EQ(found(write("lunar:rbd/disk1")), "rbd/disk1");
  EXPECT_EQ(found(write("lunar:rbd/disk1 \r\n# of the mail server\n")), "rbd/disk1");
  EXPECT_EQ(found(write("lunar:disk1\n"), "rbd"), "rbd/disk1");
}

TEST_F(BackingStoreTest, RefusesOtherFilesWithoutShowingThem) {
  for (const char* content : {"", "\n", "root:secret:0:0\n", "rbd/secret\n", "LUNAR:rbd/secret\n",
                              " lunar:rbd/secret\n"}) {
    const std::string sentence = found(write(content));
    EXPECT_NE(sentence.find(path() + " does not describe a LUN"), std::string::npos) << sentence;
    EXPECT_EQ(sentence.find("secret"), std::string::npos) << sentence;
  }
  EXPECT_FALSE(parse_backing_store(write(std::string("lunar:rbd/a\0b\n", 14)), "", kLong));
  EXPECT_FALSE(parse_backing_store(write("lunar:\n"), "rbd", kLong));
}

TEST_F(BackingStoreTest, ReadsNoMoreThanALittle) {
  EXPECT_NE(found(write("lunar:rbd/disk1\n" + std::string(1 << 20, '#'))).find("too large"),
            std::string::npos);
}

TEST_F(BackingStoreTest, DoesNotWaitForWhatIsNoFile) {
  EXPECT_NE(found(folder_).find("is no regular file"), std::string::npos);
  ASSERT_EQ(::mkfifo(path().c_str(), 0600), 0);
  EXPECT_NE(found(path()).find("is no regular file"), std::string::npos);
  EXPECT_NE(found(folder_ + "/none").find("cannot open the descriptor"), std::string::npos);
}

}  // namespace
}  // namespace lunar::bstore_plugin
