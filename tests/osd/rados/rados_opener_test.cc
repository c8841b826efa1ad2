// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/rados/rados_opener.h"

#include <gtest/gtest.h>

#include "common/program.h"

namespace lunar::osd::test {
namespace {

// Beside this program is other_release.cc.
TEST(RadosOpenerTest, AModuleOfAnotherReleaseIsRefused) {
  const auto client = connect_rados({});
  ASSERT_FALSE(client);
  EXPECT_EQ(client.error().code, std::errc::invalid_argument);
  const std::string ours(version());
  EXPECT_NE(client.error().message.find("of release 0.0.1, and lunar-osd of " + ours),
            std::string::npos)
      << client.error().message;
}

}  // namespace
}  // namespace lunar::osd::test
