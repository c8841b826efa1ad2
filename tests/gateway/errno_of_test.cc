// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/errno_of.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "msgr/errors.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;

TEST(ErrnoOfTest, KeepsWhatAnErrnoCanSay) {
  EXPECT_EQ(errno_of(make_error_code(OsdErrc::kNoSpace)), ENOSPC);
  EXPECT_EQ(errno_of(make_error_code(OsdErrc::kMiscompare)), EILSEQ);
  EXPECT_EQ(errno_of(make_error_code(OsdErrc::kTimedOut)), ETIMEDOUT);
  EXPECT_EQ(errno_of(make_error_code(OsdErrc::kLostWrites)), EIO);
  EXPECT_EQ(errno_of(make_error_code(msgr::MsgrErrc::kAuthFailed)), EACCES);
  EXPECT_EQ(errno_of(std::make_error_code(std::errc::permission_denied)), EACCES);
}

TEST(ErrnoOfTest, IsNeverZero) {
  for (int value = 0; value <= 24; ++value) {
    EXPECT_GT(errno_of(make_error_code(static_cast<OsdErrc>(value))), 0) << value;
  }
  EXPECT_GT(errno_of(make_error_code(static_cast<OsdErrc>(999))), 0);
}

}  // namespace
}  // namespace lunar::gateway
