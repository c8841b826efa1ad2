// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/watched_osds.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "msgr/errors.h"
#include "tests/support/inert_connection.h"
#include "tests/support/manual_clock.h"

namespace lunar::osd {
namespace {

using namespace std::chrono_literals;

class WatchedOsdsTest : public ::testing::Test {
 protected:
  WatchedOsdsTest() {
    msgr::EventCenter::Options timed;
    timed.time = &clock;
    center = std::move(*msgr::EventCenter::create(timed));
    osds = std::make_unique<WatchedOsds>(*center, 20s, [this](OsdId osd) { down.push_back(osd); });
    connection = std::make_shared<test::InertConnection>(*center);
  }
  void boot(OsdId osd) {
    osds->add_boot(*connection);
    ASSERT_TRUE(osds->take_boot(*connection));
    osds->on_booted(osd, connection.get());
  }
  void pass(std::chrono::nanoseconds time) {
    clock.advance(time);
    center->run_until_idle();
  }

  test::ManualClock clock;
  std::unique_ptr<msgr::EventCenter> center;
  std::vector<OsdId> down;
  std::unique_ptr<WatchedOsds> osds;
  std::shared_ptr<test::InertConnection> connection;
};

TEST_F(WatchedOsdsTest, OneThatWasUpHasTheGraceToCome) {
  osds->expect(1);
  EXPECT_FALSE(osds->is_live(1));
  pass(20s - 1ns);
  EXPECT_TRUE(down.empty());
  pass(1ns);
  EXPECT_EQ(down, std::vector<OsdId>{1});
}

TEST_F(WatchedOsdsTest, OneThatBootsIsLiveAndStaysUp) {
  osds->expect(1);
  boot(1);
  EXPECT_TRUE(osds->is_live(1));
  pass(1h);
  EXPECT_TRUE(down.empty());
}

TEST_F(WatchedOsdsTest, OneWithoutALinkIsNotLiveAndDownAfterTheGrace) {
  boot(1);
  osds->on_link(*connection, false);
  EXPECT_FALSE(osds->is_live(1));
  pass(20s);
  EXPECT_EQ(down, std::vector<OsdId>{1});
}

TEST_F(WatchedOsdsTest, ALinkThatComesBackInTimeKeepsItUp) {
  boot(1);
  osds->on_link(*connection, false);
  pass(19s);
  osds->on_link(*connection, true);
  EXPECT_TRUE(osds->is_live(1));
  pass(1h);
  EXPECT_TRUE(down.empty());
}

TEST_F(WatchedOsdsTest, OneThatEndsItsSessionIsDownAtOnce) {
  boot(1);
  osds->on_closed(*connection, make_error_code(msgr::MsgrErrc::kClosedByPeer));
  EXPECT_EQ(down, std::vector<OsdId>{1});
  pass(1h);
  EXPECT_EQ(down.size(), 1u);
}

TEST_F(WatchedOsdsTest, OneWhoseSessionIsLostHasTheGrace) {
  boot(1);
  osds->on_closed(*connection, std::make_error_code(std::errc::connection_reset));
  EXPECT_TRUE(down.empty());
  pass(20s);
  EXPECT_EQ(down, std::vector<OsdId>{1});
}

TEST_F(WatchedOsdsTest, AConnectionThatEndsWhileItsBootIsDecidedIsNoSession) {
  osds->add_boot(*connection);
  osds->on_closed(*connection, make_error_code(msgr::MsgrErrc::kClosedByPeer));
  EXPECT_FALSE(osds->take_boot(*connection));
  osds->on_booted(1, nullptr);
  EXPECT_FALSE(osds->is_live(1));
  pass(20s);
  EXPECT_EQ(down, std::vector<OsdId>{1});
}

TEST_F(WatchedOsdsTest, OnceStoppedNobodyIsDown) {
  osds->expect(1);
  boot(2);
  osds->stop();
  osds->on_closed(*connection, make_error_code(msgr::MsgrErrc::kClosedByPeer));
  pass(1h);
  EXPECT_TRUE(down.empty());
}

}  // namespace
}  // namespace lunar::osd
