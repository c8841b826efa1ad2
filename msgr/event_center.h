// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "common/inline_function.h"
#include "common/result.h"
#include "common/thread_annotations.h"

namespace lunar::msgr {

// A source of work with no fd worth waiting on for every event, such as a CQ. Loop-bound; called by
// the center that it is registered with, each turn. May register and unregister pollers, itself
// too.
class Poller {
 public:
  virtual ~Poller() = default;
  // Does what is ready, without blocking. Returns whether there was anything.
  virtual bool poll() = 0;
  // Asks for a wake-up through an fd of the center, so that it may sleep. Returns false if work
  // arrived meanwhile; the center then stays awake and polls.
  virtual bool try_arm() = 0;
  // Takes that back: the center is awake and polls. Only after a try_arm() that returned true.
  virtual void disarm() = 0;
};

// What a watched fd is ready for; a set. kHangUp is always reported, never asked for: an error, or
// both directions closed. It may come together with kRead, when there is something left to read.
enum class FdEvents : uint32_t { kNone = 0, kRead = 1, kWrite = 2, kHangUp = 4 };
constexpr FdEvents operator|(FdEvents a, FdEvents b) noexcept {
  return static_cast<FdEvents>(static_cast<uint32_t>(a) | static_cast<uint32_t>(b));
}
constexpr bool has(FdEvents set, FdEvents bit) noexcept {
  return (static_cast<uint32_t>(set) & static_cast<uint32_t>(bit)) != 0;
}

class EventCenter;

// A registration with a center, ended by its destructor on the center's loop. Move-only. The
// callback may destroy its own registration; it is not called again after that, even if the event
// had already been read from the kernel.
class FdWatch {
 public:
  FdWatch() noexcept = default;
  FdWatch(FdWatch&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  FdWatch& operator=(FdWatch&& other) noexcept {
    FdWatch taken(std::move(other));
    std::swap(state_, taken.state_);
    return *this;
  }
  ~FdWatch();
  // What to be told of from now on; kNone leaves hang-ups only. On the loop. REQUIRES: a live
  // watch.
  void set_events(FdEvents events);
  explicit operator bool() const noexcept { return state_ != nullptr; }  // false: watches nothing

 private:
  friend class EventCenter;
  struct State;
  explicit FdWatch(State* state) noexcept : state_(state) {}
  State* state_ = nullptr;
};

// As FdWatch, for a Poller: borrowed from the constructor to the destructor, both on the loop.
// A wake-up is asked for, so that the poller is armed before the center next sleeps.
class PollerRegistration {
 public:
  PollerRegistration() noexcept = default;
  PollerRegistration(EventCenter* center, Poller* poller) noexcept;
  PollerRegistration(PollerRegistration&& other) noexcept
      : center_(std::exchange(other.center_, nullptr)), poller_(other.poller_) {}
  PollerRegistration& operator=(PollerRegistration&& other) noexcept {
    PollerRegistration taken(std::move(other));
    std::swap(center_, taken.center_);
    std::swap(poller_, taken.poller_);
    return *this;
  }
  ~PollerRegistration();

 private:
  EventCenter* center_ = nullptr;
  Poller* poller_ = nullptr;
};

// Names a timer; never reused within a center. 0 names none.
enum class TimerId : uint64_t { kNone = 0 };

// Where a center takes its time from when it is not the clock: tests move one by hand. Called on
// the center's loop. Timers then run in the first turn after it moved; moving it wakes nobody.
struct TimeSource {
  virtual std::chrono::steady_clock::time_point now() noexcept = 0;

 protected:
  ~TimeSource() = default;
};

// One thread's loop: fds, timers, pollers, posted functions. Two ways to drive it: run() makes the
// calling thread the loop; or it is *embedded* in a host's loop, which watches fd() for reading and
// calls process() when it is readable.
// Loop-bound: all methods are for the loop's thread, except post(), stop() and is_in_loop(). Before
// the first run()/process()/adopt_thread() the creating thread counts as the loop's.
// Owns nothing that is registered with it; everything must be unregistered before it is destroyed,
// and every post() and stop() of another thread must have returned. That the posted function ran
// does not prove it: join or stop the threads that post first.
class CAPABILITY("event loop") EventCenter {
 public:
  using Clock = std::chrono::steady_clock;  // CLOCK_MONOTONIC: does not count suspension
  struct Options {
    std::string name = "lunar-msgr";  // also the thread's name inside run(), 15 bytes
    // Idle time spent polling before sleeping, at most; in run() only, an embedded center never
    // keeps its host awake.
    std::chrono::microseconds busy_poll{0};
    TimeSource* time = nullptr;  // borrowed; null: the steady clock
  };

  // Opens three descriptors: epoll, eventfd, timerfd. Errors: EMFILE, ENFILE, ENOMEM.
  static Result<std::unique_ptr<EventCenter>> create(Options options);
  // Destroys what was posted and timed and has not run. REQUIRES: nothing is registered any more.
  ~EventCenter();
  EventCenter(const EventCenter&) = delete;
  EventCenter& operator=(const EventCenter&) = delete;

  // Until stop(). Functions posted before stop() have run when it returns; what they post in turn
  // is destroyed with the center. Whoever tears down afterwards on another thread calls
  // adopt_thread() first.
  void run();
  void stop() noexcept;  // any thread

  // Embedded mode. fd() is readable when process() has something to do (an fd, a due timer, a
  // post). process() does what is ready without blocking, in a bounded number of steps, and returns
  // with every poller armed, or with fd() still readable.
  int fd() const noexcept;
  void process() ASSERT_CAPABILITY(this);
  // Makes the calling thread the loop's, if the center was created elsewhere.
  void adopt_thread();
  // `hook` is called, at most once between two process() calls, when a function is posted from the
  // loop's own thread outside process(): a host that calls process() once before it next sleeps
  // saves the wake-up through the kernel. Without a hook fd() becomes readable instead.
  void set_same_thread_hook(InlineFunction<void()> hook);

  // --- work for later. A function may post, time, watch and cancel; it must not block. ---

  // Runs fn later on the loop, never inside this call; in order per poster. Any thread. Never
  // blocks for longer than another thread's post(). Allocates nothing of its own for most calls.
  void post(InlineFunction<void()> fn);
  // Runs `done` with `result` later on the loop, in order with what post() was given: for a call
  // that ends as it is made. Nothing happens if `done` is empty.
  void post_done(InlineFunction<void(std::error_code)> done, std::error_code result);
  // Whether the calling thread is the loop's; any thread.
  bool is_in_loop() const noexcept;
  // Fatal on any other thread, in every build: for entries from outside.
  void assert_in_loop() const ASSERT_CAPABILITY(this);

  // fn runs once, `delay` or a little more from now; a negative delay counts as zero, which is the
  // next turn. Timers with the same deadline run in the order of the calls.
  TimerId run_after(Clock::duration delay, InlineFunction<void()> fn);
  // False if it already ran, runs now, or is kNone. The callback is destroyed before this returns.
  bool cancel(TimerId id);
  // The time of this turn, or outside of one the clock's; cheap.
  Clock::time_point now() const noexcept;

  // Calls on_ready on the loop as long as `fd` is ready for any of `events`: level-triggered. `fd`
  // is borrowed and must stay open as long as the watch. Errors are epoll_ctl's: EEXIST if it is
  // watched already, EPERM for what cannot be waited for, ENOMEM, ENOSPC.
  Result<FdWatch> watch(int fd, FdEvents events, InlineFunction<void(FdEvents)> on_ready);

  // For tests: turns until nothing is ready and no post is queued. Timers that are not due do not
  // count. Returns the number of turns that did something. Ends the program after some millions,
  // as a timer that is due again at once would turn for ever.
  int run_until_idle();

 private:
  friend class FdWatch;
  friend class PollerRegistration;
  struct Impl;
  explicit EventCenter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace lunar::msgr
