// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/key_revocations.h"

#include <gtest/gtest.h>

namespace lunar::msgr {
namespace {

TEST(KeyRevocationsTest, EachEndsOnceByItsNumber) {
  KeyRevocations revocations;
  int first = 0;
  int second = 0;
  const uint64_t number = revocations.add([&] { ++first; });
  revocations.add([&] { ++second; });
  revocations.finish(number);
  revocations.finish(number);
  EXPECT_EQ(first, 1);
  EXPECT_EQ(second, 0);
}

TEST(KeyRevocationsTest, WhatIsTakenIsTheCallersToRun) {
  KeyRevocations revocations;
  std::vector<int> ran;
  const uint64_t number = revocations.add([&] { ran.push_back(1); });
  revocations.add([&] { ran.push_back(2); });
  auto taken = revocations.take_all();
  revocations.finish(number);
  EXPECT_TRUE(ran.empty());
  for (auto& done : taken) done();
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
  EXPECT_TRUE(revocations.take_all().empty());
}

}  // namespace
}  // namespace lunar::msgr
