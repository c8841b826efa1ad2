// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/owed_ack.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

TEST(OwedAckTest, ManySmallMessagesMakeItDue) {
  OwedAck ack;
  for (uint32_t i = 1; i < OwedAck::kMostMessages; ++i) EXPECT_FALSE(ack.add(1));
  EXPECT_TRUE(ack.is_owed());
  EXPECT_TRUE(ack.add(1));
}

TEST(OwedAckTest, FewLargeMessagesMakeItDue) {
  OwedAck ack;
  EXPECT_FALSE(ack.add(OwedAck::kMostBytes - 1));
  EXPECT_TRUE(ack.add(1));
}

TEST(OwedAckTest, AFrameThatLeavesSettlesIt) {
  OwedAck ack;
  EXPECT_FALSE(ack.is_owed());
  ack.add(OwedAck::kMostBytes);
  ack.clear();
  EXPECT_FALSE(ack.is_owed());
  EXPECT_FALSE(ack.add(1));
}

}  // namespace
}  // namespace lunar::msgr
