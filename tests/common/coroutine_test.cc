// SPDX-License-Identifier: LGPL-2.1-or-later
//
// The forms of co_await that the project allows, each with as many destructions as constructions:
// g++ 12 gets others wrong without a word (common/task.h). Run under ASan and by both
// compilers.

#include <gtest/gtest.h>

#include <coroutine>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "common/task.h"

namespace lunar {
namespace {

int live = 0;

struct Tracked {
  int value;
  explicit Tracked(int v = 0) : value(v) { ++live; }
  Tracked(const Tracked& other) : value(other.value) { ++live; }
  Tracked(Tracked&& other) noexcept : value(other.value) { ++live; }
  Tracked& operator=(const Tracked&) = default;
  ~Tracked() { --live; }
};

std::coroutine_handle<> pending;
class Io {
 public:
  explicit Io(int value = 0) noexcept : value_(value) {}
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> waiter) noexcept { pending = waiter; }
  int await_resume() const noexcept { return value_; }

 private:
  int value_;
};

struct Aggregate {
  Tracked a, b;
};
class WithConstructor {
 public:
  WithConstructor(Tracked a, Tracked b) : a_(a), b_(b) {}
  int sum() const { return a_.value + b_.value; }

 private:
  Tracked a_, b_;
};
struct Plain {
  int a;
  long b;
};

Task<int> one(Tracked tracked) {
  co_await Io();
  co_return tracked.value;
}
Task<int> sum(Aggregate pair) {
  co_await Io();
  co_return pair.a.value + pair.b.value;
}
Task<int> sum_of(WithConstructor pair) {
  co_await Io();
  co_return pair.sum();
}
Task<int> first(Plain plain) {
  co_await Io();
  co_return plain.a;
}
Task<int> call(std::function<int()> fn) {
  co_await Io();
  co_return fn();
}
Task<Tracked> make(int value) {
  co_await Io();
  Tracked made(value);
  co_return made;
}

Task<int> named_result() {
  const int v = co_await one(Tracked(3));
  co_return v;
}
Task<int> hoisted_aggregate() {
  Aggregate pair{Tracked(1), Tracked(2)};
  const int v = co_await sum(std::move(pair));
  co_return v;
}
Task<int> hoisted_callable() {
  const std::string text(3, 'x');
  std::function<int()> fn = [text] { return static_cast<int>(text.size()); };
  const int v = co_await call(std::move(fn));
  co_return v;
}
Task<int> class_with_constructor() {
  const int v = co_await sum_of(WithConstructor(Tracked(1), Tracked(2)));
  co_return v;
}
Task<int> trivial_aggregate() {
  const Plain plain{3, 6};
  const int v = co_await first(plain);
  co_return v;
}
Task<int> branch_on_a_named_value() {
  const int v = co_await Io(1);
  if (v != 0) co_return 3;
  co_return 4;
}
Task<int> loop_on_a_named_value() {
  int n = 0;
  for (;;) {
    const int more = co_await Io(n < 3 ? 1 : 0);
    if (more == 0) break;
    ++n;
  }
  co_return n;
}
Task<int> class_as_result() {
  const Tracked made = co_await make(3);
  co_return made.value;
}

Detached run(Task<int> task, int* result) {
  const int v = co_await task;
  *result = v;
}

class CoroutineFormTest : public testing::TestWithParam<std::pair<const char*, Task<int> (*)()>> {};

TEST_P(CoroutineFormTest, GivesTheRightValueAndDestroysWhatItConstructed) {
  live = 0;
  pending = {};
  int result = -1;
  run(GetParam().second(), &result);
  for (int steps = 0; result < 0; ++steps) {
    ASSERT_LT(steps, 100);
    ASSERT_TRUE(pending) << "neither finished nor waiting";
    std::exchange(pending, {}).resume();
  }
  EXPECT_EQ(result, 3);
  EXPECT_EQ(live, 0);
}

#define FORM(name) std::pair(#name, &name)
INSTANTIATE_TEST_SUITE_P(Allowed, CoroutineFormTest,
                         testing::Values(FORM(named_result), FORM(hoisted_aggregate),
                                         FORM(hoisted_callable), FORM(class_with_constructor),
                                         FORM(trivial_aggregate), FORM(branch_on_a_named_value),
                                         FORM(loop_on_a_named_value), FORM(class_as_result)),
                         [](const auto& info) { return info.param.first; });

}  // namespace
}  // namespace lunar
