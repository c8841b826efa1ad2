// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/session_results.h"

#include <gtest/gtest.h>

#include <memory>

namespace lunar::osd {
namespace {

class SessionResultsTest : public ::testing::Test {
 protected:
  static OpResultRef result_of(Tid tid, std::size_t bytes = 0) {
    auto result = std::make_shared<OpResult>();
    result->header.tid = tid;
    result->header.bytes_inline = bytes;
    if (bytes != 0) result->data.emplace_back().small.resize(bytes);
    return result;
  }
  static void remember(SessionResults& results, Tid tid, std::size_t bytes = 0) {
    results.remember(tid, {.result = result_of(tid, bytes), .was_executed = true});
  }

  SessionResults results{{.max_results = 2}};
};

TEST_F(SessionResultsTest, AResultIsFoundByItsTid) {
  results.remember(3, {result_of(3), 2, true});
  ASSERT_NE(results.find(3), nullptr);
  EXPECT_EQ(results.find(3)->result->header.tid, 3u);
  EXPECT_EQ(results.find(3)->attempt, 2u);
  EXPECT_EQ(results.find(4), nullptr);
}

TEST_F(SessionResultsTest, TheNewestAttemptIsKept) {
  results.remember(3, {result_of(3), 2, true});
  results.note_attempt(3, 5);
  results.note_attempt(3, 4);
  EXPECT_EQ(results.find(3)->attempt, 5u);
}

TEST_F(SessionResultsTest, WhatTheClientHasSeenGoes) {
  for (const Tid tid : {3, 4, 5}) remember(results, tid);
  results.drop_seen(5);
  EXPECT_EQ(results.find(4), nullptr);
  EXPECT_NE(results.find(5), nullptr);
  EXPECT_EQ(results.oldest(), 5u);
  EXPECT_EQ(results.size(), 1u);
}

TEST_F(SessionResultsTest, OneThatCameBackBelowTheOldestStaysUntilTheClientSaysMore) {
  results.drop_seen(5);
  remember(results, 3);
  results.drop_seen(5);
  EXPECT_NE(results.find(3), nullptr) << "it has moved here from another server";
  results.drop_seen(6);
  EXPECT_EQ(results.find(3), nullptr);
}

TEST_F(SessionResultsTest, AtTheLimitThereIsNoRoomWhileNothingIsDelivered) {
  remember(results, 1);
  EXPECT_TRUE(results.has_room());
  remember(results, 2);
  EXPECT_FALSE(results.has_room());
}

TEST_F(SessionResultsTest, AtTheLimitWhatWasDeliveredFirstMakesRoom) {
  remember(results, 1);
  remember(results, 2);
  EXPECT_TRUE(results.on_delivered(2));
  EXPECT_TRUE(results.on_delivered(1));
  EXPECT_TRUE(results.has_room());
  EXPECT_EQ(results.find(2), nullptr);
  EXPECT_NE(results.find(1), nullptr) << "no more than is needed";
}

TEST_F(SessionResultsTest, BelowTheLimitWhatWasDeliveredStays) {
  remember(results, 1);
  results.on_delivered(1);
  EXPECT_TRUE(results.has_room());
  EXPECT_NE(results.find(1), nullptr);
}

TEST_F(SessionResultsTest, TheBytesOfResultsAreBoundedToo) {
  SessionResults small({.max_results = 100, .max_bytes = 1000});
  remember(small, 1, 900);
  EXPECT_FALSE(small.has_room());
  small.on_delivered(1);
  EXPECT_TRUE(small.has_room());
  EXPECT_EQ(small.bytes(), 0u);
}

TEST_F(SessionResultsTest, ADeliveryCountsOnceAndForWhatIsRemembered) {
  remember(results, 1);
  EXPECT_FALSE(results.on_delivered(2));
  EXPECT_TRUE(results.on_delivered(1));
  EXPECT_FALSE(results.on_delivered(1));
  EXPECT_TRUE(results.find(1)->is_delivered);
}

TEST_F(SessionResultsTest, DeliveriesOfAConnectionThatIsGoneMakeNoRoom) {
  remember(results, 1);
  remember(results, 2);
  results.on_delivered(1);
  results.forget_deliveries();
  EXPECT_FALSE(results.find(1)->is_delivered);
  EXPECT_FALSE(results.has_room());
  EXPECT_TRUE(results.on_delivered(1)) << "by the next connection";
}

TEST_F(SessionResultsTest, AResultThatIsForgottenIsNoLongerAmongThoseDelivered) {
  remember(results, 5);
  results.on_delivered(5);
  results.drop_seen(6);
  remember(results, 9);
  results.on_delivered(9);
  remember(results, 5);  // again, from another server
  results.on_delivered(5);
  EXPECT_TRUE(results.has_room());
  EXPECT_EQ(results.find(9), nullptr) << "it was delivered first";
  EXPECT_NE(results.find(5), nullptr);
}

TEST_F(SessionResultsTest, WhatComesWithoutWaitingForRoomEndsAtTwiceTheLimit) {
  for (Tid tid = 1; tid <= 9; ++tid) results.try_remember(tid, {result_of(tid)});
  EXPECT_EQ(results.size(), 4u);
  EXPECT_EQ(results.find(5), nullptr);
}

TEST_F(SessionResultsTest, AClearedOneHasRoomAndKnowsTheOldest) {
  results.drop_seen(5);
  remember(results, 5, 100);
  remember(results, 6);
  results.clear();
  EXPECT_EQ(results.find(5), nullptr);
  EXPECT_TRUE(results.has_room());
  EXPECT_EQ(results.bytes(), 0u);
  EXPECT_EQ(results.oldest(), 5u);
}

}  // namespace
}  // namespace lunar::osd
