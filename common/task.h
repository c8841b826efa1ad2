// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "common/check.h"

// g++ 12 miscompiles several forms of co_await. What is safe, and the only thing used here:
//  - co_await is a statement by itself, or the whole initialiser of a named local;
//  - its operands are named locals, scalars, spans, or objects of classes with constructors;
//  - a coroutine is a named function that takes its parameters by value, except a reference to what
//    provably outlives it; never a lambda with captures.
// tools/dev/check_coroutines.py looks for the others, tests/common/coroutine_test.cc runs these.

namespace lunar {
namespace internal {

// Resumes whoever awaits the task by a plain call: symmetric transfer overflows the stack at -O0
// and under the sanitizers.
struct TaskFinal {
  bool await_ready() const noexcept { return false; }
  template <typename Promise>
  void await_suspend(std::coroutine_handle<Promise> finished) const noexcept {
    const std::coroutine_handle<> parent = finished.promise().parent;
    if (parent) parent.resume();  // may destroy `finished`
  }
  void await_resume() const noexcept {}
};

struct TaskPromiseBase {
  std::coroutine_handle<> parent;
  std::suspend_always initial_suspend() const noexcept { return {}; }
  TaskFinal final_suspend() const noexcept { return {}; }
  void unhandled_exception() const noexcept { std::terminate(); }
};

}  // namespace internal

// A coroutine that starts when it is awaited, once, and gives one value. Loop-bound. Owns its
// frame: destroying a task that is suspended gives up what it awaits.
template <typename T>
class [[nodiscard]] Task {
 public:
  struct promise_type : internal::TaskPromiseBase {
    std::optional<T> value;
    Task get_return_object() noexcept {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    template <typename U>
    void return_value(U&& result) {
      value.emplace(std::forward<U>(result));
    }
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    frame_.resume();
    if (frame_.done()) return false;  // finished at once: the parent goes on without suspending
    frame_.promise().parent = parent;
    return true;
  }
  T await_resume() {
    LUNAR_CHECK(frame_.promise().value.has_value(), "a task ended without a value");
    return std::move(*frame_.promise().value);
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

template <>
class [[nodiscard]] Task<void> {
 public:
  struct promise_type : internal::TaskPromiseBase {
    Task get_return_object() noexcept {
      return Task(std::coroutine_handle<promise_type>::from_promise(*this));
    }
    void return_void() const noexcept {}
  };

  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  Task& operator=(Task&&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    frame_.resume();
    if (frame_.done()) return false;
    frame_.promise().parent = parent;
    return true;
  }
  void await_resume() const noexcept {}

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;
};

// A coroutine that starts at its call and belongs to nobody: it frees itself when it ends, so it
// must hold what it uses, and everything it awaits must be closed for it to end.
struct Detached {
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

}  // namespace lunar
