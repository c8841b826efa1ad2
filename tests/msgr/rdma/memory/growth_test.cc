// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/memory/growth.h"

#include <gtest/gtest.h>

namespace lunar::msgr::rdma {
namespace {

TEST(GrowthTest, AFailureIsAPauseAndNotTheEnd) {
  const Growth::TimePoint now{std::chrono::hours(1)};
  Growth growth;
  EXPECT_FALSE(growth.may_go_on(now)) << "not begun";
  growth.begin();
  EXPECT_TRUE(growth.may_go_on(now));
  growth.failed(now);
  EXPECT_FALSE(growth.may_go_on(now));
  EXPECT_FALSE(growth.may_go_on(now + Growth::kPause - std::chrono::nanoseconds(1)));
  EXPECT_TRUE(growth.may_go_on(now + Growth::kPause));
  growth.end();
  EXPECT_FALSE(growth.may_go_on(now + std::chrono::hours(24)));
}

}  // namespace
}  // namespace lunar::msgr::rdma
