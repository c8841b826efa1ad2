// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/inline_function.h"

#include <gtest/gtest.h>

#include <memory>

namespace lunar {
namespace {

TEST(InlineFunctionTest, CallsWhatItHolds) {
  InlineFunction<int(int)> twice = [](int x) { return 2 * x; };
  EXPECT_EQ(twice(21), 42);
}

TEST(InlineFunctionTest, TakesAMoveOnlyCapture) {
  InlineFunction<int()> get = [value = std::make_unique<int>(5)] { return *value; };
  InlineFunction<int()> moved = std::move(get);
  EXPECT_FALSE(get);  // NOLINT(bugprone-use-after-move): that is the test
  EXPECT_EQ(moved(), 5);
}

TEST(InlineFunctionTest, PassesMoveOnlyArguments) {
  InlineFunction<int(std::unique_ptr<int>)> take = [](std::unique_ptr<int> value) {
    return *value;
  };
  EXPECT_EQ(take(std::make_unique<int>(9)), 9);
}

TEST(InlineFunctionTest, DestroysItsCaptureOnce) {
  auto count = std::make_shared<int>(0);
  {
    InlineFunction<void()> first = [count] { ++*count; };
    InlineFunction<void()> second = std::move(first);
    EXPECT_EQ(count.use_count(), 2);
    second = nullptr;
    EXPECT_EQ(count.use_count(), 1);
  }
  EXPECT_EQ(count.use_count(), 1);
}

TEST(InlineFunctionDeathTest, CallingAnEmptyOneAborts) {
  InlineFunction<void()> empty;
  EXPECT_DEATH(empty(), "empty InlineFunction");
}

}  // namespace
}  // namespace lunar
