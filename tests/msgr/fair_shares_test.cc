// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/fair_shares.h"

#include <gtest/gtest.h>

#include <vector>

namespace lunar::msgr {
namespace {

class FairSharesTest : public ::testing::Test {
 protected:
  // As much as it gets, in pieces of this size.
  uint64_t grab(const FairShares::ShareRef& holder, uint64_t piece) {
    while (shares->allows(*holder, piece)) held.push_back(shares->hold(holder, piece));
    return holder->held();
  }
  const std::shared_ptr<FairShares> shares =
      std::make_shared<FairShares>(FairShares::Limits{300, 100, 4});
  std::vector<FairShares::Held> held;
};

TEST_F(FairSharesTest, OneConnectionAloneGetsItsLimit) {
  EXPECT_EQ(grab(shares->open("client.a"), 5), 100u);
}

TEST_F(FairSharesTest, AnEntityGetsHalfHoweverManyConnectionsItHas) {
  for (int i = 0; i < 50; ++i) grab(shares->open("client.a"), 5);
  EXPECT_LE(shares->held(), 150u + 50 * 4);
  EXPECT_GE(shares->held(), 140u);
  const auto other = shares->open("client.b");
  EXPECT_TRUE(shares->allows(*other, 60));
  EXPECT_GE(grab(other, 5), 30u);
}

TEST_F(FairSharesTest, WhatIsHeldCanBecomeMoreOrLess) {
  const auto holder = shares->open("client.a");
  FairShares::Held some = shares->hold(holder, 60);
  some.resize(20);
  EXPECT_EQ(shares->held(), 20u);
  EXPECT_EQ(holder->held(), 20u);
  some.resize(90);
  EXPECT_EQ(holder->held(), 90u);
  some.give_back();
  some.resize(5);
  EXPECT_EQ(shares->held(), 0u) << "what was given back stays so";
}

TEST_F(FairSharesTest, WhoComesLateToABusyEntityStillGetsSomething) {
  const auto first = shares->open("client.a");
  grab(first, 5);
  const auto second = shares->open("client.a");
  EXPECT_GE(grab(second, 5), 20u);
}

TEST_F(FairSharesTest, ALittleIsAlwaysAllowed) {
  for (const char* entity : {"client.a", "client.b", "client.c", "client.d", "client.e"})
    for (int i = 0; i < 20; ++i) grab(shares->open(entity), 5);
  EXPECT_TRUE(shares->allows(*shares->open("client.a"), 4));
}

TEST_F(FairSharesTest, AnEntityThatHoldsNothingMayTakeOneThingOfAnySize) {
  const auto large = shares->open("client.a");
  EXPECT_TRUE(shares->allows(*large, 1'000'000));
  held.push_back(shares->hold(large, 1'000'000));
  EXPECT_FALSE(shares->allows(*large, 5));
  EXPECT_FALSE(shares->allows(*shares->open("client.b"), 5)) << "the limit is reached";
}

TEST_F(FairSharesTest, WhatIsGivenBackIsThereForOthers) {
  const auto holder = shares->open("client.a");
  {
    auto one = shares->hold(holder, 100);
    FairShares::Held moved = std::move(one);
    EXPECT_FALSE(one);
    EXPECT_EQ(shares->held(), 100u);
    EXPECT_FALSE(shares->allows(*holder, 5));
  }
  EXPECT_EQ(shares->held(), 0u);
  EXPECT_EQ(holder->held(), 0u);
  EXPECT_TRUE(shares->allows(*holder, 5));
}

}  // namespace
}  // namespace lunar::msgr
