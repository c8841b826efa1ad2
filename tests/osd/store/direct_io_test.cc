// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/direct_io.h"

#include <fcntl.h>

#include <cerrno>

#include "common/file.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

constexpr std::size_t kMinBytes = 64 << 10;

class DirectIoTest : public ::testing::Test {
 protected:
  DirectIoTest()
      : file_({1, "object"},
              UniqueFd(::open((folder_ / "file").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600))) {
    fake_.set_rule([this](const std::string&) { return reopen_result_; });
  }

  alignas(DirectIo::kAlignment) std::byte memory_[2 * kMinBytes];
  const ConstBytes bytes_{memory_};
  TemporaryFolder folder_;
  FakeSyscalls fake_;
  int reopen_result_ = 0;  // 0: the system's
  ObjectFile file_;
  DirectIo direct_{fake_, folder_.path(), kMinBytes};
};

TEST_F(DirectIoTest, WantsTransfersThatAreLargeAndAligned) {
  EXPECT_TRUE(direct_.wants(0, bytes_.first(kMinBytes)));
  EXPECT_TRUE(direct_.wants(8192, bytes_));
  EXPECT_FALSE(direct_.wants(0, bytes_.first(kMinBytes - 4096))) << "small";
  EXPECT_FALSE(direct_.wants(512, bytes_)) << "offset";
  EXPECT_FALSE(direct_.wants(0, bytes_.first(kMinBytes + 512))) << "length";
  EXPECT_FALSE(direct_.wants(0, bytes_.subspan(8, kMinBytes))) << "memory";
}

TEST_F(DirectIoTest, WantsNoTransferWhereNoSizeIsGiven) {
  EXPECT_FALSE(DirectIo(fake_, folder_.path(), 0).wants(0, bytes_));
}

TEST_F(DirectIoTest, TransfersThatAreNotDirectUseTheFilesOwnDescriptor) {
  const IoFile chosen = direct_.choose(file_, 512, bytes_);
  EXPECT_EQ(chosen.fd, file_.fd.get());
  EXPECT_FALSE(chosen.is_direct);
  EXPECT_EQ(fake_.count("reopen"), 0U);
}

TEST_F(DirectIoTest, WhereTheFileCannotBeOpenedSoThePageCacheIsUsedFromThenOn) {
  reopen_result_ = -EINVAL;
  EXPECT_EQ(direct_.choose(file_, 0, bytes_).fd, file_.fd.get());
  EXPECT_FALSE(direct_.wants(0, bytes_));
  EXPECT_EQ(direct_.choose(file_, 0, bytes_).fd, file_.fd.get());
  EXPECT_EQ(fake_.count("reopen"), 1U);
}

TEST_F(DirectIoTest, ARefusedTransferIsRepeatedThroughThePageCache) {
  EXPECT_TRUE(direct_.must_repeat({7, true}, -EINVAL));
  EXPECT_FALSE(direct_.wants(0, bytes_));
}

TEST_F(DirectIoTest, OtherResultsAreNotRepeated) {
  EXPECT_FALSE(direct_.must_repeat({7, true}, -EIO));
  EXPECT_FALSE(direct_.must_repeat({7, true}, 4096));
  EXPECT_FALSE(direct_.must_repeat({7, false}, -EINVAL));
  EXPECT_TRUE(direct_.wants(0, bytes_));
}

}  // namespace
}  // namespace lunar::osd::test
