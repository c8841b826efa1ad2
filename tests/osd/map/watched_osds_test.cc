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
    osds = std::make_unique<WatchedOsds>(*center, WatchedOsds::Graces{20s, 6s},
                                         [this](OsdId osd) { down.push_back(osd); });
    connection = std::make_shared<test::InertConnection>(*center);
  }
  void boot(OsdId osd, bool sends_heartbeats = false,
            std::shared_ptr<test::InertConnection> over = nullptr) {
    if (!over) over = connection;
    osds->add_boot(*over);
    ASSERT_TRUE(osds->take_boot(*over));
    osds->on_booted(osd, over.get(), sends_heartbeats);
  }
  // The loop runs all the time.
  void pass(std::chrono::nanoseconds time) {
    constexpr std::chrono::nanoseconds kStep = 100ms;
    for (; time > kStep; time -= kStep) stand_still(kStep);
    stand_still(time);
  }
  void stand_still(std::chrono::nanoseconds time) {
    clock.advance(time);
    center->run_until_idle();
  }
  // Each of them sends a heartbeat a second.
  void hear_for(std::chrono::seconds time, std::vector<test::InertConnection*> from) {
    for (; time > 0s; time -= 1s) {
      pass(1s);
      for (const auto* each : from) osds->on_heartbeat(*each);
    }
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
  osds->on_booted(1, nullptr, false);
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

TEST_F(WatchedOsdsTest, OneThatStandsStillIsDownAfterTheGraceAlthoughItHasALink) {
  boot(1, true);
  hear_for(30s, {connection.get()});
  EXPECT_TRUE(osds->is_live(1));
  pass(6s - 1ns);
  EXPECT_TRUE(down.empty());
  pass(1ns);
  EXPECT_EQ(down, std::vector<OsdId>{1});
  EXPECT_FALSE(osds->is_live(1)) << "another start of it need not wait";
}

TEST_F(WatchedOsdsTest, OneThatGoesOnIsWatchedAgainOnceItHasBooted) {
  boot(1, true);
  pass(7s);
  osds->on_heartbeat(*connection);
  EXPECT_FALSE(osds->is_live(1)) << "it is down in the map";
  boot(1, true);
  EXPECT_TRUE(osds->is_live(1));
  pass(7s);
  EXPECT_EQ(down, (std::vector<OsdId>{1, 1}));
}

TEST_F(WatchedOsdsTest, OneThatCouldNotBeFencedIsHeldDownAgain) {
  boot(1, true);
  pass(6s);
  osds->hold_down_again(1);
  pass(6s);
  EXPECT_EQ(down, (std::vector<OsdId>{1, 1}));
  osds->hold_down_again(1);
  hear_for(30s, {connection.get()});
  EXPECT_EQ(down.size(), 2u) << "it goes on, and nobody has its place";
  EXPECT_TRUE(osds->is_live(1));
}

TEST_F(WatchedOsdsTest, OneWithoutALinkIsAwaitedForTheGrace) {
  for (const bool sends_heartbeats : {false, true}) {
    boot(1, sends_heartbeats);
    EXPECT_FALSE(osds->is_awaited(1)) << "it is there";
    osds->on_link(*connection, false);
    EXPECT_TRUE(osds->is_awaited(1));
    pass(sends_heartbeats ? 6s : 20s);
    EXPECT_FALSE(osds->is_awaited(1));
  }
}

// Nobody is kept out for as long as Ceph takes no entry.
TEST_F(WatchedOsdsTest, OneThatCouldNotBeFencedIsAwaitedNoLonger) {
  boot(1, true);
  osds->on_link(*connection, false);
  pass(6s);
  osds->hold_down_again(1);
  EXPECT_FALSE(osds->is_awaited(1));
  osds->on_link(*connection, true);
  osds->on_link(*connection, false);
  EXPECT_TRUE(osds->is_awaited(1)) << "it was heard again";
}

TEST_F(WatchedOsdsTest, TheGraceOfALostLinkBeginsWithTheLastHeartbeat) {
  boot(1, true);
  pass(4s);
  osds->on_link(*connection, false);
  pass(2s);
  EXPECT_EQ(down, std::vector<OsdId>{1});
}

TEST_F(WatchedOsdsTest, WhoSendsNoHeartbeatsIsNotHeldDeadForThat) {
  boot(1);
  osds->on_heartbeat(*connection);
  pass(1h);
  EXPECT_TRUE(down.empty());
}

// What they have sent meanwhile is still to be read.
TEST_F(WatchedOsdsTest, TheTimeInWhichTheAuthorityStoodStillCountsForNobody) {
  for (const auto pause : {5s, 9s, 60s}) {
    boot(1, true);
    pass(900ms);  // the longest time without a heartbeat
    stand_still(pause);
    EXPECT_TRUE(down.empty());
    EXPECT_TRUE(osds->is_live(1));
    pass(4s);
    EXPECT_TRUE(down.empty()) << "what is left is enough to come back by a new link";
    osds->on_heartbeat(*connection);
  }
  pass(6s);
  EXPECT_EQ(down, std::vector<OsdId>{1}) << "and no more than that";
}

TEST_F(WatchedOsdsTest, IfNobodyIsHeardThroughLinksItMayBeTheAuthorityThatIsCutOff) {
  const auto other = std::make_shared<test::InertConnection>(*center);
  boot(1, true);
  boot(2, true, other);
  hear_for(10s, {connection.get(), other.get()});
  pass(14s);
  EXPECT_TRUE(down.empty());
  osds->on_heartbeat(*other);
  pass(500ms);
  EXPECT_EQ(down, std::vector<OsdId>{1}) << "the other one is heard again";
}

TEST_F(WatchedOsdsTest, LinksThatAreGivenUpEndTheDoubt) {
  const auto other = std::make_shared<test::InertConnection>(*center);
  boot(1, true);
  boot(2, true, other);
  pass(14s);
  osds->on_link(*connection, false);
  osds->on_link(*other, false);
  pass(500ms);
  EXPECT_EQ(down, (std::vector<OsdId>{1, 2}));
}

TEST_F(WatchedOsdsTest, TwoThatAreKilledAtOnceHaveNoLinks) {
  const auto other = std::make_shared<test::InertConnection>(*center);
  boot(1, true);
  boot(2, true, other);
  osds->on_link(*connection, false);
  osds->on_link(*other, false);
  pass(6s);
  EXPECT_EQ(down, (std::vector<OsdId>{1, 2}));
}

}  // namespace
}  // namespace lunar::osd
