// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <coroutine>
#include <deque>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>

#include "common/check.h"
#include "common/coroutine_slot.h"
#include "common/result.h"
#include "msgr/event_center.h"

// What a coroutine (common/task.h) can await: things from callbacks, a result, a time. For control
// flow in several steps, never on the path of an IO. A co_await is a statement, or all that a named
// local is initialised with; docs/style.md says why, and tools/dev/check_coroutines.py where
// coroutines may be. All of this is loop-bound: the coroutine, the callbacks and whatever wakes it
// are on one loop. A coroutine that is destroyed while it waits is forgotten.

namespace lunar::msgr {

// What callbacks bring, one after the other, for one coroutine to await: frames, the end of a
// connect, a message from somewhere else.
//
//   Result<ReceivedFrame> frame = co_await inbox.next();
//   if (!frame) co_return frame.error();
//
// There is one way to cancel: close() the inbox; every wait then ends with that error, and no code
// has to ask what became of the state meanwhile. push(), close() and cancel() resume the waiting
// coroutine inside the call; the inbox may be gone when they return.
// Owns what was pushed and not yet taken. REQUIRES at destruction: no coroutine waits.
template <typename T>
class Inbox {
 public:
  // What next() returns: an awaiter of its own and no Task, so that a loop which takes item after
  // item allocates nothing. Lives in the frame of the coroutine that awaits it, and does not
  // outlive the inbox.
  class Next {
   public:
    explicit Next(Inbox& inbox) noexcept : inbox_(inbox), wait_(inbox.slot_) {}
    bool await_ready() const noexcept { return !inbox_.items_.empty() || inbox_.closed_; }
    void await_suspend(std::coroutine_handle<> coroutine) { wait_.begin(coroutine); }
    // The item moves out of the inbox, whatever became of the inbox's owner meanwhile.
    Result<T> await_resume() { return inbox_.take(); }

   private:
    Inbox& inbox_;
    CoroutineSlot::Wait wait_;
  };

  // Takes `item`; drops it, destroying it inside the call, if the inbox is closed. There is no
  // bound: whoever pushes sees to it that not too much waits.
  void push(T item) {
    if (closed_) return;
    items_.push_back(std::move(item));
    slot_.resume();  // may destroy this
  }
  // What was pushed before may still be taken; then every wait ends with `why`. The first close
  // counts.
  void close(std::error_code why = std::make_error_code(std::errc::operation_canceled)) {
    if (closed_) return;
    closed_ = why;
    slot_.resume();  // may destroy this
  }
  // As close(), and destroys what was pushed and not taken. After a close() the first reason stays.
  void cancel(std::error_code why = std::make_error_code(std::errc::operation_canceled)) {
    items_.clear();
    close(why);
  }
  // There may still be something to take.
  bool is_closed() const noexcept { return static_cast<bool>(closed_); }

  // The oldest item, or why there will be none: the error that close() was given. At most one
  // coroutine awaits at a time, which is checked and fatal.
  Next next() noexcept { return Next(*this); }

 private:
  Result<T> take() {
    if (items_.empty()) return failure(closed_);
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  std::deque<T> items_;     // in the order of push()
  std::error_code closed_;  // why; success while open
  CoroutineSlot slot_;      // whoever waits; then items_ is empty and closed_ success
};

// The one result of an asynchronous call, for the coroutine that made the call to await:
//
//   Completion<OpReply> reply;
//   objecter.submit(std::move(op), reply.callback());
//   OpReply answer = co_await reply;
//
// One Completion is for one call and is awaited once. The callback resumes the coroutine inside the
// call, or has the co_await not wait if it ran before. It may outlive the coroutine, which it then
// leaves alone; one that is destroyed without having run leaves the coroutine waiting, so it is for
// calls that keep the contract of `done`: exactly once.
// T moves without throwing. Shares its state with the callback: one allocation. Two calls under way
// at once need two of these; a coroutine that awaits one after the other has both run meanwhile.
template <typename T>
class Completion {
 public:
  Completion() : state_(std::make_shared<State>()) {}
  Completion(const Completion&) = delete;
  Completion& operator=(const Completion&) = delete;
  ~Completion() { state_->waiter = {}; }

  // For the one call whose result this is: a callable with one T, 16 bytes, which may be copied.
  // Running it twice is checked and fatal.
  auto callback() const {
    return [state = state_](T result) {
      LUNAR_CHECK(!state->result, "a completion ran twice");
      state->result.emplace(std::move(result));
      if (state->waiter) std::exchange(state->waiter, {}).resume();
    };
  }

  // For co_await. await_resume() moves the result out, so there is one co_await for each
  // Completion. A second coroutine that awaits it makes the first one wait for ever.
  bool await_ready() const noexcept { return state_->result.has_value(); }
  void await_suspend(std::coroutine_handle<> coroutine) noexcept { state_->waiter = coroutine; }
  T await_resume() { return std::move(*state_->result); }

 private:
  struct State {
    std::optional<T> result;         // none until the callback ran
    std::coroutine_handle<> waiter;  // set while the coroutine waits; then there is no result
  };
  const std::shared_ptr<State> state_;
};

// As Completion<T>, for a callback without a result:
//
//   Completion<void> closed;
//   link.close(closed.callback());
//   co_await closed;
template <>
class Completion<void> : private Completion<bool> {
 public:
  // A callable without parameters, else as above.
  auto callback() const {
    return [done = Completion<bool>::callback()]() mutable { done(true); };
  }
  // For co_await.
  using Completion<bool>::await_ready;
  using Completion<bool>::await_suspend;
  void await_resume() noexcept {}  // nothing to hand over
};

// Sleeps for one coroutine that end at once when the sleeper is closed: what makes a retry loop end
// with its owner, without a timer to remember.
//
//   const std::error_code ended = co_await sleeper.sleep(delay);
//   if (ended) co_return;
//
// Borrows the center. REQUIRES at destruction: no coroutine sleeps.
class Sleeper {
 public:
  // What sleep() returns: allocates nothing but the center's timer. Lives in the frame of the
  // coroutine that awaits it; destroying it there cancels the timer. Does not outlive the sleeper.
  class Sleep {
   public:
    Sleep(Sleeper& sleeper, EventCenter::Clock::duration delay) noexcept
        : sleeper_(sleeper), delay_(delay), wait_(sleeper.slot_) {}
    ~Sleep() {
      if (wait_.is_on()) sleeper_.stop_timer();
    }
    bool await_ready() const noexcept { return sleeper_.is_closed_; }
    void await_suspend(std::coroutine_handle<> coroutine) {
      wait_.begin(coroutine);
      Sleeper* sleeper = &sleeper_;
      sleeper_.timer_ = sleeper_.center_.run_after(delay_, [sleeper] { sleeper->wake(); });
    }
    // Success also if wake() ended it early: whoever wakes knows why.
    std::error_code await_resume() const noexcept {
      return sleeper_.is_closed_ ? std::make_error_code(std::errc::operation_canceled)
                                 : std::error_code();
    }

   private:
    Sleeper& sleeper_;
    const EventCenter::Clock::duration delay_;
    CoroutineSlot::Wait wait_;
  };

  // `center` outlives the sleeper.
  explicit Sleeper(EventCenter& center) noexcept : center_(center) {}

  // Until `delay` has passed or wake() was called: success; or until close(): operation_canceled.
  // Zero is the next turn of the loop. At most one coroutine sleeps at a time.
  Sleep sleep(EventCenter::Clock::duration delay) noexcept { return Sleep(*this, delay); }
  // Ends a sleep under way early, as if its time had come; nothing happens without one. Resumes the
  // coroutine inside the call; the sleeper may be gone when it returns.
  void wake() {
    if (!slot_.is_waited_in()) return;
    stop_timer();
    slot_.resume();
  }
  // Ends this and every later sleep with operation_canceled, for good. Resumes inside the call, as
  // wake(). May be called again.
  void close() {
    is_closed_ = true;
    wake();
  }

 private:
  void stop_timer() noexcept { center_.cancel(std::exchange(timer_, TimerId::kNone)); }

  EventCenter& center_;
  bool is_closed_ = false;          // for good
  TimerId timer_ = TimerId::kNone;  // set while a coroutine sleeps
  CoroutineSlot slot_;
};

}  // namespace lunar::msgr
