// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/boot_pace.h"

#include <gtest/gtest.h>

namespace lunar::osd {
namespace {

class BootPaceTest : public ::testing::Test {
 protected:
  int take_all(const std::string& server) {
    int taken = 0;
    while (pace.take(server, now)) ++taken;
    return taken;
  }
  BootPace pace;
  BootPace::TimePoint now{std::chrono::hours(1)};
};

TEST_F(BootPaceTest, AfterABurstThereIsOneInEachInterval) {
  EXPECT_EQ(take_all("osd.1"), BootPace::kBurst);
  now += BootPace::kInterval;
  EXPECT_EQ(take_all("osd.1"), 1);
  now += 3 * BootPace::kInterval;
  EXPECT_EQ(take_all("osd.1"), 3);
  now += std::chrono::hours(1);
  EXPECT_EQ(take_all("osd.1"), BootPace::kBurst) << "no more is saved up";
}

TEST_F(BootPaceTest, NobodyMissesWhatAnotherHasUsedUp) {
  take_all("osd.1");
  EXPECT_EQ(take_all("osd.2"), BootPace::kBurst);
}

}  // namespace
}  // namespace lunar::osd
