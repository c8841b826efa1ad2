// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One turn: poll pollers, run due timers, run posted functions, then epoll_wait. Posted functions
// come last because links flush what a turn queued in a posted function: a frame sent by a timer or
// by an fd's callback leaves before the loop sleeps, with one epoll_wait per turn.
//
// Sleeping against posting: the loop sets `asleep`, then looks at the queue; a poster pushes, then
// looks at `asleep`. Both sides are sequentially consistent, so at least one of them sees the other
// (the poster writes the eventfd, or the loop does not sleep). An embedded center that is outside
// process() is asleep all the time. The eventfd and the timerfd are edge-triggered: each write or
// expiry is one wake-up, and nobody needs to read them.

#include "msgr/event_center.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <list>
#include <optional>
#include <thread>
#include <vector>

#include "common/check.h"
#include "common/file.h"
#include "common/host.h"
#include "common/signals.h"
#include "msgr/event/poller_set.h"
#include "msgr/event/post_queue.h"
#include "msgr/event/timer_queue.h"
#include "msgr/spin_window.h"

namespace lunar::msgr {
namespace {

using std::chrono::nanoseconds;
using TimePoint = EventCenter::Clock::time_point;
using Functions = std::vector<InlineFunction<void()>>;

constexpr int kEventsPerWait = 64;
constexpr int kPostRoundsPerTurn = 4;  // posts by posts; more wait for the next turn
constexpr int kTurnsPerProcess = 16;
constexpr int kMostTurnsUntilIdle = 3'000'000;  // of run_until_idle(), which is for tests
constexpr int kBusyTurnsPerWait = 8;  // a busy poller lets fds be looked at every so many turns

uint32_t to_epoll(FdEvents events) noexcept {
  return (has(events, FdEvents::kRead) ? uint32_t{EPOLLIN} : 0u) |
         (has(events, FdEvents::kWrite) ? uint32_t{EPOLLOUT} : 0u);
}

FdEvents from_epoll(uint32_t events) noexcept {
  return ((events & EPOLLIN) != 0 ? FdEvents::kRead : FdEvents::kNone) |
         ((events & EPOLLOUT) != 0 ? FdEvents::kWrite : FdEvents::kNone) |
         ((events & (EPOLLHUP | EPOLLERR)) != 0 ? FdEvents::kHangUp : FdEvents::kNone);
}

timespec to_timespec(nanoseconds t) noexcept {
  return {static_cast<time_t>(t.count() / 1'000'000'000),
          static_cast<long>(t.count() % 1'000'000'000)};
}

}  // namespace

struct FdWatch::State {
  EventCenter::Impl* impl;
  int fd;
  FdEvents events;
  InlineFunction<void(FdEvents)> on_ready;
  bool ended = false;
};

struct EventCenter::Impl {
  struct EndedCall {
    InlineFunction<void(std::error_code)> done;
    std::error_code result;
  };

  Options options;
  UniqueFd epoll, wake, timer;

  // Any thread.
  std::atomic<std::thread::id> owner{std::this_thread::get_id()};
  std::atomic<std::thread::id> claimed_by{};  // the owner once it drives the loop; posts directly
  std::atomic<bool> stopping{false};
  std::atomic<bool> asleep{true};
  PostQueue remote;

  // The loop's thread.
  Functions local, running;
  TimerQueue timers;
  PollerSet pollers;
  std::list<EndedCall> ended_calls;  // of post_done(), until the post that names it has run
  std::vector<FdWatch::State*> ended_watches;  // freed when no event of a batch can name them
  std::size_t num_watches = 0;
  bool in_turn = false;
  bool dispatching = false;
  InlineFunction<void()> hook;
  bool hook_called = false;
  TimePoint turn_time{};
  TimePoint timerfd_at = TimePoint::max();

  TimePoint clock() const noexcept {
    return options.time != nullptr ? options.time->now() : Clock::now();
  }
  bool on_owner() const noexcept {
    return owner.load(std::memory_order_acquire) == std::this_thread::get_id();
  }
  bool drives_loop() const noexcept {
    return claimed_by.load(std::memory_order_acquire) == std::this_thread::get_id();
  }
  bool has_posts() const noexcept { return !local.empty() || !remote.empty(); }

  void claim();
  void wake_up() noexcept;
  void ask_for_process();
  bool run_posts();
  void set_timerfd();
  bool wait(std::optional<nanoseconds> timeout);
  bool dispatch(const epoll_event* events, int count);
  bool turn(bool* poller_busy);
  void sleep();
  void end_watch(FdWatch::State* state) noexcept;
};

void EventCenter::Impl::claim() {
  const auto self = std::this_thread::get_id();
  owner.store(self, std::memory_order_release);
  claimed_by.store(self, std::memory_order_release);
}

void EventCenter::Impl::wake_up() noexcept {
  if (SimulatedHost* host = simulated_host()) return host->on_posted(options.time);
  if (!asleep.load(std::memory_order_seq_cst) || !asleep.exchange(false)) return;
  const uint64_t one = 1;
  while (write(wake.get(), &one, sizeof one) < 0 && errno == EINTR) {
  }
}

// For work that came from the loop's own thread outside a turn.
void EventCenter::Impl::ask_for_process() {
  if (!hook) return wake_up();
  if (std::exchange(hook_called, true)) return;
  hook();
}

bool EventCenter::Impl::run_posts() {
  bool did = false;
  for (int round = 0; round < kPostRoundsPerTurn && has_posts(); ++round) {
    running.swap(local);
    if (!remote.empty()) remote.take_all(running);
    for (auto& fn : running) {
      auto taken = std::move(fn);
      taken();
    }
    running.clear();
    did = true;
  }
  return did;
}

// Only for a host that sleeps in its own epoll_wait: run() has the timeout of its own.
void EventCenter::Impl::set_timerfd() {
  const TimePoint next = timers.next_deadline().value_or(TimePoint::max());
  if (options.time != nullptr) {
    if (SimulatedHost* host = simulated_host()) host->on_deadline(options.time, next);
    return;
  }
  if (next == timerfd_at) return;
  timerfd_at = next;
  itimerspec spec{};
  if (next != TimePoint::max()) {
    spec.it_value = to_timespec(std::max(next.time_since_epoch(), Clock::duration(1)));
  }
  // CLOCK_MONOTONIC is what steady_clock reads in libstdc++ and libc++.
  LUNAR_CHECK(timerfd_settime(timer.get(), TFD_TIMER_ABSTIME, &spec, nullptr) == 0,
              "timerfd_settime");
}

bool EventCenter::Impl::wait(std::optional<nanoseconds> timeout) {
  if (num_watches == 0 && options.time != nullptr && simulated_host() != nullptr) {
    asleep.store(false, std::memory_order_relaxed);
    turn_time = clock();
    return false;
  }
  epoll_event events[kEventsPerWait];
  timespec limit{};
  if (timeout) limit = to_timespec(*timeout);
  int count =
      epoll_pwait2(epoll.get(), events, kEventsPerWait, timeout ? &limit : nullptr, nullptr);
  if (count < 0 && errno == ENOSYS) {  // Linux < 5.11
    constexpr int64_t kLongest = 3'600'000;
    const int ms = !timeout ? -1
                            : static_cast<int>(std::min(
                                  kLongest, (timeout->count() + 999'999) / int64_t{1'000'000}));
    count = epoll_wait(epoll.get(), events, kEventsPerWait, ms);
  }
  asleep.store(false, std::memory_order_relaxed);
  LUNAR_CHECK(count >= 0 || errno == EINTR, "epoll_wait");
  turn_time = clock();
  return count > 0 && dispatch(events, count);
}

bool EventCenter::Impl::dispatch(const epoll_event* events, int count) {
  bool did = false;
  dispatching = true;
  for (int i = 0; i < count; ++i) {
    auto* state = static_cast<FdWatch::State*>(events[i].data.ptr);
    if (state == nullptr || state->ended) continue;  // null: only a wake-up
    did = true;
    state->on_ready(from_epoll(events[i].events));
  }
  dispatching = false;
  for (FdWatch::State* state : std::exchange(ended_watches, {})) delete state;
  return did;
}

// All of a turn but epoll_wait. Returns whether there was anything to do.
bool EventCenter::Impl::turn(bool* poller_busy) {
  *poller_busy = pollers.poll();
  bool did = *poller_busy;
  did |= timers.run_due(turn_time) > 0;
  did |= run_posts();
  return did;
}

void EventCenter::Impl::sleep() {
  if (!pollers.try_arm()) {  // a poller is busy, or polls for a while yet: the fds have their turn
    wait(nanoseconds(0));
    return;
  }
  std::optional<nanoseconds> timeout;
  if (options.time == nullptr && !timers.empty()) {
    timeout = std::max(nanoseconds(0), nanoseconds(*timers.next_deadline() - clock()));
  }
  asleep.store(true, std::memory_order_seq_cst);
  if (has_posts() || stopping.load(std::memory_order_seq_cst)) timeout = nanoseconds(0);
  wait(timeout);
  pollers.disarm();
}

void EventCenter::Impl::end_watch(FdWatch::State* state) noexcept {
  LUNAR_CHECK(on_owner(), "an FdWatch ends on its center's loop");
  LUNAR_CHECK(epoll_ctl(epoll.get(), EPOLL_CTL_DEL, state->fd, nullptr) == 0,
              "a watched fd was closed before its FdWatch ended");
  --num_watches;
  if (dispatching) {
    state->ended = true;
    ended_watches.push_back(state);
  } else {
    delete state;
  }
}

// --- FdWatch, PollerRegistration -------------------------------------------------------------

FdWatch::~FdWatch() {
  if (state_ != nullptr) state_->impl->end_watch(state_);
}

void FdWatch::set_events(FdEvents events) {
  LUNAR_CHECK(state_ != nullptr && state_->impl->on_owner(), "set_events() of a live watch");
  if (state_->events == events) return;
  state_->events = events;
  epoll_event event{};
  event.events = to_epoll(events);
  event.data.ptr = state_;
  LUNAR_CHECK(epoll_ctl(state_->impl->epoll.get(), EPOLL_CTL_MOD, state_->fd, &event) == 0,
              "epoll_ctl(MOD)");
}

PollerRegistration::PollerRegistration(EventCenter* center, Poller* poller) noexcept
    : center_(center), poller_(poller) {
  EventCenter::Impl& impl = *center_->impl_;
  LUNAR_CHECK(impl.on_owner(), "a Poller is registered on its center's loop");
  impl.pollers.add(poller_);
  if (!impl.in_turn) impl.ask_for_process();  // which arms it
}
PollerRegistration::~PollerRegistration() {
  if (center_ == nullptr) return;
  EventCenter::Impl& impl = *center_->impl_;
  LUNAR_CHECK(impl.on_owner(), "a Poller is unregistered on its center's loop");
  impl.pollers.remove(poller_);
}

// --- EventCenter -------------------------------------------------------------------------------

Result<std::unique_ptr<EventCenter>> EventCenter::create(Options options) {
  auto impl = std::make_unique<Impl>();
  impl->options = std::move(options);
  impl->epoll = UniqueFd(epoll_create1(EPOLL_CLOEXEC));
  if (!impl->epoll) return failure(last_system_error());
  impl->wake = UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!impl->wake) return failure(last_system_error());
  impl->timer = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!impl->timer) return failure(last_system_error());
  for (const int fd : {impl->wake.get(), impl->timer.get()}) {
    epoll_event event{};
    event.events = EPOLLIN | EPOLLET;
    if (epoll_ctl(impl->epoll.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
      return failure(last_system_error());
    }
  }
  return std::unique_ptr<EventCenter>(new EventCenter(std::move(impl)));
}

EventCenter::EventCenter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

EventCenter::~EventCenter() {
  // What is dropped may own registrations, or post once more.
  while (impl_->has_posts() || !impl_->timers.empty()) {
    Functions dropped;
    dropped.swap(impl_->local);
    impl_->remote.take_all(dropped);
    impl_->timers.clear();
    std::exchange(impl_->ended_calls, {}).clear();
  }
  impl_->hook.reset();
  LUNAR_CHECK(impl_->num_watches == 0 && impl_->pollers.is_empty(),
              "unregister before the center is destroyed");
}

void EventCenter::run() {
  Impl& im = *impl_;
  im.claim();
  LUNAR_CHECK(!im.in_turn, "run() inside the loop");
  im.in_turn = true;
  im.asleep.store(false, std::memory_order_relaxed);
  name_this_thread(im.options.name.c_str());
  im.turn_time = im.clock();
  SpinWindow spin(im.options.busy_poll);
  TimePoint last_work = im.turn_time;
  unsigned busy_turns = 0;
  while (!im.stopping.load(std::memory_order_acquire)) {
    bool poller_busy = false;
    bool did = im.turn(&poller_busy);
    if (did) last_work = im.turn_time;
    if (im.has_posts() || poller_busy) {
      if (++busy_turns % kBusyTurnsPerWait == 0) im.wait(nanoseconds(0));
      im.turn_time = im.clock();
    } else if (im.turn_time - last_work < spin.get()) {
      if (im.wait(nanoseconds(0))) last_work = im.turn_time;
    } else {
      const TimePoint began = im.turn_time;
      im.sleep();
      last_work = im.turn_time;
      spin.on_work_after(im.turn_time - began);
    }
  }
  im.run_posts();
  im.stopping.store(false, std::memory_order_relaxed);
  im.in_turn = false;
  im.asleep.store(true, std::memory_order_seq_cst);
}

void EventCenter::stop() noexcept {
  impl_->stopping.store(true, std::memory_order_seq_cst);
  impl_->wake_up();
}

int EventCenter::fd() const noexcept { return impl_->epoll.get(); }

void EventCenter::process() {
  Impl& im = *impl_;
  if (im.claimed_by.load(std::memory_order_relaxed) == std::thread::id()) im.claim();
  assert_in_loop();
  LUNAR_CHECK(!im.in_turn, "process() inside the loop");
  im.in_turn = true;
  im.hook_called = false;
  im.pollers.disarm();
  im.wait(nanoseconds(0));
  bool settled = false;
  for (int turns = 0; turns < kTurnsPerProcess && !settled; ++turns) {
    bool poller_busy = false;
    im.turn(&poller_busy);
    settled = !poller_busy && !im.has_posts() && im.pollers.try_arm();
    im.turn_time = im.clock();
  }
  im.in_turn = false;
  im.set_timerfd();
  im.asleep.store(true, std::memory_order_seq_cst);
  if (!settled || im.has_posts()) im.wake_up();
}

void EventCenter::adopt_thread() {
  LUNAR_CHECK(!impl_->in_turn, "adopt_thread() while the loop runs");
  impl_->claim();
}

void EventCenter::set_same_thread_hook(InlineFunction<void()> hook) {
  assert_in_loop();
  impl_->hook = std::move(hook);
}

void EventCenter::post(InlineFunction<void()> fn) {
  Impl& im = *impl_;
  LUNAR_CHECK(static_cast<bool>(fn), "an empty function was posted");
  if (im.drives_loop()) {
    im.local.push_back(std::move(fn));
    if (!im.in_turn) im.ask_for_process();
  } else {
    im.remote.push(std::move(fn));
    im.wake_up();
  }
}

void EventCenter::post_done(InlineFunction<void(std::error_code)> done, std::error_code result) {
  assert_in_loop();
  if (!done) return;
  // A function does not fit into a function of its size, so it waits beside the queue of posts.
  const auto waiting =
      impl_->ended_calls.insert(impl_->ended_calls.end(), {std::move(done), result});
  post([im = impl_.get(), waiting] {
    Impl::EndedCall ended = std::move(*waiting);
    im->ended_calls.erase(waiting);
    ended.done(ended.result);
  });
}

bool EventCenter::is_in_loop() const noexcept { return impl_->on_owner(); }

void EventCenter::assert_in_loop() const {
  LUNAR_CHECK(impl_->on_owner(), "called on a thread that is not the loop's");
}

TimerId EventCenter::run_after(Clock::duration delay, InlineFunction<void()> fn) {
  assert_in_loop();
  LUNAR_CHECK(static_cast<bool>(fn), "an empty function for a timer");
  const TimePoint now = impl_->clock();
  delay = std::max(delay, Clock::duration::zero());
  const TimePoint deadline = delay > TimePoint::max() - now ? TimePoint::max() : now + delay;
  const TimerId id = impl_->timers.add(deadline, std::move(fn));
  if (!impl_->in_turn && deadline < impl_->timerfd_at) impl_->set_timerfd();
  return id;
}

bool EventCenter::cancel(TimerId id) {
  assert_in_loop();
  return impl_->timers.cancel(id);
}

EventCenter::Clock::time_point EventCenter::now() const noexcept {
  return impl_->in_turn ? impl_->turn_time : impl_->clock();
}

Result<FdWatch> EventCenter::watch(int fd, FdEvents events,
                                   InlineFunction<void(FdEvents)> on_ready) {
  assert_in_loop();
  auto state = std::make_unique<FdWatch::State>();
  state->impl = impl_.get();
  state->fd = fd;
  state->events = events;
  state->on_ready = std::move(on_ready);
  epoll_event event{};
  event.events = to_epoll(events);
  event.data.ptr = state.get();
  if (epoll_ctl(impl_->epoll.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
    return failure(last_system_error());
  }
  ++impl_->num_watches;
  return FdWatch(state.release());
}

int EventCenter::run_until_idle() {
  Impl& im = *impl_;
  if (im.claimed_by.load(std::memory_order_relaxed) == std::thread::id()) im.claim();
  assert_in_loop();
  LUNAR_CHECK(!im.in_turn, "run_until_idle() inside the loop");
  im.in_turn = true;
  im.hook_called = false;
  im.pollers.disarm();
  int turns = 0;
  for (bool did = true; did;) {
    did = im.wait(nanoseconds(0));
    bool poller_busy = false;
    did |= im.turn(&poller_busy);
    if (did) ++turns;
    LUNAR_CHECK(turns < kMostTurnsUntilIdle, "a loop that is never idle");
  }
  im.in_turn = false;
  im.set_timerfd();
  im.asleep.store(true, std::memory_order_seq_cst);
  if (im.has_posts()) im.wake_up();
  return turns;
}

}  // namespace lunar::msgr
