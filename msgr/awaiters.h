// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <coroutine>
#include <deque>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "common/check.h"
#include "common/result.h"
#include "msgr/event_center.h"

namespace lunar::msgr {

// What callbacks bring, for one coroutine to await: frames, the end of a connect, a message from
// another part of the session. There is one way to cancel: close() the inbox; every wait then ends
// with that error. push() and close() resume the waiting coroutine inside the call; the inbox may
// be gone when they return.
// Loop-bound. Owns what was pushed and not yet taken. A coroutine that is destroyed while it waits
// is forgotten.
template <typename T>
class Inbox {
 public:
  class Next {
   public:
    explicit Next(Inbox& inbox) noexcept : inbox_(inbox) {}
    Next(const Next&) = delete;
    Next& operator=(const Next&) = delete;
    ~Next() {
      if (waiting_) inbox_.waiter_ = {};
    }
    bool await_ready() const noexcept { return !inbox_.items_.empty() || inbox_.closed_; }
    void await_suspend(std::coroutine_handle<> coroutine) {
      LUNAR_CHECK(!inbox_.waiter_, "one coroutine at a time awaits an Inbox");
      inbox_.waiter_ = coroutine;
      inbox_.waiting_flag_ = &waiting_;
      waiting_ = true;
    }
    Result<T> await_resume() { return inbox_.take(); }

   private:
    Inbox& inbox_;
    bool waiting_ = false;
  };

  Inbox() = default;
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;
  ~Inbox() { LUNAR_CHECK(!waiter_, "an Inbox was destroyed while a coroutine awaits it"); }

  // Dropped if the inbox is closed.
  void push(T item) {
    if (closed_) return;
    items_.push_back(std::move(item));
    wake();
  }
  // What was pushed before may still be taken; then every wait ends with `why`. The first close
  // counts.
  void close(std::error_code why = std::make_error_code(std::errc::operation_canceled)) {
    if (closed_) return;
    closed_ = why;
    wake();
  }
  // As close(), and forgets what was pushed.
  void cancel(std::error_code why = std::make_error_code(std::errc::operation_canceled)) {
    items_.clear();
    close(why);
  }
  bool is_closed() const noexcept { return static_cast<bool>(closed_); }

  // `Result<T> item = co_await inbox.next();`
  Next next() noexcept { return Next(*this); }

 private:
  void wake() {
    if (!waiter_) return;
    *waiting_flag_ = false;
    std::exchange(waiter_, {}).resume();  // may destroy this
  }
  Result<T> take() {
    if (items_.empty()) return failure(closed_);
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  std::deque<T> items_;
  std::error_code closed_;
  std::coroutine_handle<> waiter_;
  bool* waiting_flag_ = nullptr;  // the Next's, so that its destructor knows
};

// The one result of an asynchronous call, for the coroutine that made the call to await:
//
//   Completion<OpReply> reply;
//   objecter.submit(std::move(op), reply.callback());
//   OpReply answer = co_await reply;
//
// The callback resumes the coroutine inside the call. It may outlive the coroutine, which it then
// leaves alone. Loop-bound. Shares its state with the callback.
template <typename T>
class Completion {
 public:
  Completion() : state_(std::make_shared<State>()) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() { state_->waiter = {}; }

  // For the one call whose result this is. Runs at most once.
  auto callback() const {
    return [state = state_](T result) {
      LUNAR_CHECK(!state->result, "a completion ran twice");
      state->result.emplace(std::move(result));
      if (state->waiter) std::exchange(state->waiter, {}).resume();
    };
  }

  bool await_ready() const noexcept { return state_->result.has_value(); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept { state_->waiter = coroutine; }
  T await_resume() { return std::move(*state_->result); }

 private:
  struct State {
    std::optional<T> result;
    std::coroutine_handle<> waiter;
  };
  const std::shared_ptr<State> state_;
};

// As Completion<T>, for a callback without a result.
template <>
class Completion<void> {
 public:
  auto callback() const {
    return [done = inner_.callback()]() mutable { done(true); };
  }
  bool await_ready() const noexcept { return inner_.await_ready(); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept {
    inner_.await_suspend(coroutine);
  }
  void await_resume() noexcept {}

 private:
  Completion<bool> inner_;
};

// Sleeps for one coroutine, that end at once when it is closed. Loop-bound.
class Sleeper {
 public:
  class Sleep {
   public:
    Sleep(Sleeper& sleeper, EventCenter::Clock::duration delay) noexcept
        : sleeper_(sleeper), delay_(delay) {}
    Sleep(const Sleep&) = delete;
    Sleep& operator=(const Sleep&) = delete;
    ~Sleep() {
      if (waiting_) sleeper_.forget();
    }
    bool await_ready() const noexcept { return sleeper_.closed_; }
    void await_suspend(std::coroutine_handle<> coroutine) {
      LUNAR_CHECK(!sleeper_.waiter_, "one coroutine at a time awaits a Sleeper");
      waiting_ = true;
      sleeper_.waiter_ = coroutine;
      sleeper_.waiting_flag_ = &waiting_;
      Sleeper* sleeper = &sleeper_;
      sleeper_.timer_ = sleeper_.center_.run_after(delay_, [sleeper] { sleeper->wake(); });
    }
    // Success, or operation_canceled.
    std::error_code await_resume() const noexcept {
      return sleeper_.closed_ ? std::make_error_code(std::errc::operation_canceled)
                              : std::error_code();
    }

   private:
    Sleeper& sleeper_;
    const EventCenter::Clock::duration delay_;
    bool waiting_ = false;
  };

  explicit Sleeper(EventCenter& center) noexcept : center_(center) {}
  Sleeper(const Sleeper&) = delete;
  Sleeper& operator=(const Sleeper&) = delete;
  ~Sleeper() { LUNAR_CHECK(!waiter_, "a Sleeper was destroyed while a coroutine awaits it"); }

  // `const std::error_code ended = co_await sleeper.sleep(delay);`
  Sleep sleep(EventCenter::Clock::duration delay) noexcept { return Sleep(*this, delay); }
  // Ends a sleep under way early, as if its time had come. Resumes the coroutine inside the call.
  void wake() {
    if (!waiter_) return;
    center_.cancel(std::exchange(timer_, TimerId::kNone));
    *waiting_flag_ = false;
    std::exchange(waiter_, {}).resume();  // may destroy this
  }
  // Ends this and every later sleep with operation_canceled. Resumes inside the call.
  void close() {
    closed_ = true;
    wake();
  }

 private:
  void forget() noexcept {
    center_.cancel(std::exchange(timer_, TimerId::kNone));
    waiter_ = {};
  }

  EventCenter& center_;
  bool closed_ = false;
  TimerId timer_ = TimerId::kNone;
  std::coroutine_handle<> waiter_;
  bool* waiting_flag_ = nullptr;
};

}  // namespace lunar::msgr
