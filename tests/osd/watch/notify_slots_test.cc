// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/watch/notify_slots.h"

#include <gtest/gtest.h>

namespace lunar::osd {
namespace {

class NotifySlotsTest : public ::testing::Test {
 protected:
  // As many as this entity gets on the object, each by another start of it.
  int take_all(const std::string& entity, const std::string& object) {
    int taken = 0;
    while (slots.take({1, object}, {entity, "host", ++nonce})) ++taken;
    return taken;
  }
  NotifySlots slots{{.max_of_object = 64, .max_of_client = 3, .max_of_all = 100}};
  uint64_t nonce = 0;
};

TEST_F(NotifySlotsTest, AnEntityLeavesRoomForOthersOnAnObjectHoweverManyStartsItHas) {
  EXPECT_EQ(take_all("client.a", "header"), 32);
  EXPECT_EQ(take_all("client.b", "header"), 16);
  EXPECT_EQ(take_all("client.c", "header"), 8);
}

TEST_F(NotifySlotsTest, AnEntityLeavesRoomForOthersInAll) {
  EXPECT_EQ(take_all("client.a", "x") + take_all("client.a", "y"), 50);
  EXPECT_EQ(take_all("client.b", "z"), 25);
}

TEST_F(NotifySlotsTest, AStartHasOnlySoManyAndMayAgainLater) {
  const objecter::ClientIdentity start{"client.a", "host", 1};
  for (const char* object : {"x", "y", "z"}) EXPECT_TRUE(slots.take({1, object}, start));
  EXPECT_FALSE(slots.take({1, "w"}, start));
  slots.give_back({1, "y"}, start);
  EXPECT_TRUE(slots.take({1, "w"}, start));
}

}  // namespace
}  // namespace lunar::osd
