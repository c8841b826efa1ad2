// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <coroutine>
#include <exception>  // std::terminate
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
    if (parent) parent.resume();  // can destroy `finished`
  }
  void await_resume() const noexcept {}
};

struct TaskPromiseBase {
  std::coroutine_handle<> parent;  // who awaits the task, once it has suspended; else null
  // Lazy: nothing runs before somebody awaits the task.
  std::suspend_always initial_suspend() const noexcept { return {}; }
  TaskFinal final_suspend() const noexcept { return {}; }
  // Our own code throws nothing: what arrives here is a lack of memory.
  void unhandled_exception() const noexcept { std::terminate(); }
};

}  // namespace internal

// A coroutine that starts when it is awaited, once, and gives one value:
//   Task<Result<Frame>> read_frame(Link& link);      a named function, parameters by value
//   auto frame = co_await read_frame(link);          the whole initialiser of a local
// For control flow in several steps off the path of an IO; each call allocates a frame on the heap.
// Loop-bound: it runs on the thread of whoever awaits it, and so does what follows. Owns its frame:
// destroying a task that is suspended destroys its locals and gives up what it awaits. A failure is
// a value, a Result or an Outcome, never an exception. Nobody cancels a task: what it awaits is
// closed, and the await returns that error.
template <typename T>
class [[nodiscard]] Task {
 public:
  // What the compiler asks for. `value` is there once the coroutine has returned.
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
  Task& operator=(Task&&) = delete;  // nobody needs it
  ~Task() {
    if (frame_) frame_.destroy();
  }

  // The three calls of co_await. The task runs inside await_suspend(), until it waits for something
  // or ends; false means that it has ended.
  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    frame_.resume();
    if (frame_.done()) return false;  // finished at once: the parent goes on without suspending
    frame_.promise().parent = parent;
    return true;
  }
  T await_resume() {  // the value, moved out: once
    LUNAR_CHECK(frame_.promise().value.has_value(), "a task ended without a value");
    return std::move(*frame_.promise().value);
  }

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;  // null once it was moved from
};

// The same without a value.
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
  Task& operator=(Task&&) = delete;  // nobody needs it
  ~Task() {
    if (frame_) frame_.destroy();
  }

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> parent) {
    frame_.resume();
    if (frame_.done()) return false;  // ended at once, as above
    frame_.promise().parent = parent;
    return true;
  }
  void await_resume() const noexcept {}

 private:
  explicit Task(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
  std::coroutine_handle<promise_type> frame_;  // null once it was moved from
};

// A coroutine that starts at its call and belongs to nobody:
//   Detached Acceptor::serve(std::shared_ptr<Acceptor> self, Connected link);
// It frees itself when it ends, so it must hold what it uses (a shared_ptr parameter), and whoever
// wants it to end closes what it awaits. Its first steps run inside the call. Loop-bound.
struct Detached {
  // What the compiler asks for: runs at once, and frees the frame at the end.
  struct promise_type {
    Detached get_return_object() const noexcept { return {}; }
    std::suspend_never initial_suspend() const noexcept { return {}; }
    std::suspend_never final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept { std::terminate(); }
  };
};

}  // namespace lunar
