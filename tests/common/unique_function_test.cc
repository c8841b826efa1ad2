// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/unique_function.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "common/inline_function.h"

namespace lunar {
namespace {

TEST(UniqueFunctionTest, CallsWhatItHolds) {
  UniqueFunction<int(int)> twice = [](int x) { return 2 * x; };
  EXPECT_EQ(twice(21), 42);
}

TEST(UniqueFunctionTest, TakesAMoveOnlyCapture) {
  UniqueFunction<int()> get = [value = std::make_unique<int>(5)] { return *value; };
  UniqueFunction<int()> moved = std::move(get);
  EXPECT_FALSE(get);  // NOLINT(bugprone-use-after-move): that is the test
  EXPECT_EQ(moved(), 5);
}

TEST(UniqueFunctionTest, PassesMoveOnlyArguments) {
  UniqueFunction<int(std::unique_ptr<int>)> take = [](std::unique_ptr<int> value) {
    return *value;
  };
  EXPECT_EQ(take(std::make_unique<int>(9)), 9);
}

TEST(UniqueFunctionTest, DestroysItsCaptureOnce) {
  auto count = std::make_shared<int>(0);
  {
    UniqueFunction<void()> first = [count] { ++*count; };
    UniqueFunction<void()> second = std::move(first);
    EXPECT_EQ(count.use_count(), 2);
    second = nullptr;
    EXPECT_EQ(count.use_count(), 1);
  }
  EXPECT_EQ(count.use_count(), 1);
}

TEST(UniqueFunctionTest, KeepsAndDestroysACaptureLargerThanItself) {
  auto count = std::make_shared<int>(0);
  {
    std::array<int, 100> large{};
    large[99] = 7;
    UniqueFunction<int()> first = [count, large] { return large[99]; };
    UniqueFunction<int()> second = std::move(first);
    EXPECT_FALSE(first);  // NOLINT(bugprone-use-after-move): that is the test
    EXPECT_EQ(second(), 7);
    EXPECT_EQ(count.use_count(), 2);
  }
  EXPECT_EQ(count.use_count(), 1);
}

TEST(UniqueFunctionTest, TravelsInsideAnInlineFunction) {
  UniqueFunction<void(int)> done = [sum = std::make_unique<int>(0)](int x) { *sum += x; };
  InlineFunction<void()> later = [done = std::move(done), first = 1, second = 2]() mutable {
    done(first + second);
  };
  later();
}

TEST(UniqueFunctionTest, IsEmptyIfItIsMadeOfAnEmptyInlineFunctionAndTheOtherWayRound) {
  EXPECT_FALSE(UniqueFunction<void()>(InlineFunction<void()>()));
  EXPECT_FALSE(InlineFunction<void()>(UniqueFunction<void()>()));
  void (*const nothing)() = nullptr;
  EXPECT_FALSE(UniqueFunction<void()>(nothing));
  EXPECT_FALSE(InlineFunction<void()>(nothing));
  UniqueFunction<void()> held = [] {};
  EXPECT_TRUE(InlineFunction<void()>(std::move(held)));
}

TEST(UniqueFunctionDeathTest, CallingAnEmptyOneAborts) {
  UniqueFunction<void()> empty;
  EXPECT_DEATH(empty(), "empty UniqueFunction");
}

}  // namespace
}  // namespace lunar
