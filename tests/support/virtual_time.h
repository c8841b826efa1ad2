// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <unistd.h>

#include <algorithm>
#include <chrono>

#include "common/check.h"
#include "common/host.h"
#include "msgr/event_center.h"

namespace lunar::test {

// Time of one loop that passes only while the loop waits: turn_until() then moves it to the next
// timer. So nothing that a test sees depends on how fast the machine is or for how long it pauses,
// and waiting takes no time. Work that never ends has to pause, as load of a test does. Give it to
// EventCenter::Options::time.
//
// It is what monotonic_now() says too, for the whole process: one at a time, made before the center
// and destroyed after it, and only in tests of one thread.
class VirtualTime final : public msgr::TimeSource, private SimulatedHost {
 public:
  using Clock = std::chrono::steady_clock;
  static constexpr int kMostTurns = 1'000'000;  // more is something that turns round and round

  VirtualTime() {
    LUNAR_CHECK(simulated_host() == nullptr, "one virtual time at a time");
    set_simulated_host(this);
  }
  ~VirtualTime() override { set_simulated_host(nullptr); }
  VirtualTime(const VirtualTime&) = delete;
  VirtualTime& operator=(const VirtualTime&) = delete;

  Clock::time_point now() noexcept override { return now_; }

  // Turns `center`, which takes its time from here, until `done()` holds. False if that takes more
  // than `limit` of this time, if there is nothing left that could happen, or after kMostTurns.
  template <typename Done>
  bool turn_until(msgr::EventCenter& center, Done done,
                  Clock::duration limit = std::chrono::seconds(30)) {
    const auto end = now_ + limit;
    for (int turns = 0; turns < kMostTurns; ++turns) {
      center.run_until_idle();
      if (done()) return true;
      center.run_until_idle();  // what done() began
      if (next_timer_ > end) return false;
      now_ = std::max(now_, next_timer_);
    }
    return false;
  }

  // Lets `duration` pass, and runs what is due until then. Ends the program after kMostTurns.
  void pass(msgr::EventCenter& center, Clock::duration duration) {
    const auto end = now_ + duration;
    center.run_until_idle();
    for (int turns = 0; next_timer_ <= end; ++turns) {
      LUNAR_CHECK(turns < kMostTurns, "timers are due again and again, and hardly any time passes");
      now_ = std::max(now_, next_timer_);
      center.run_until_idle();
    }
    now_ = end;
    center.run_until_idle();
  }

 private:
  Clock::time_point monotonic_now() noexcept override { return now_; }
  std::chrono::system_clock::time_point wall_now() noexcept override {
    return std::chrono::system_clock::now();
  }
  void fill_random(Bytes into) noexcept override {
    LUNAR_CHECK(::getentropy(into.data(), into.size()) == 0, "getentropy gives no bytes");
  }
  void on_deadline(const void*, Clock::time_point deadline) noexcept override {
    next_timer_ = deadline;
  }
  void on_posted(const void*) noexcept override {}

  Clock::time_point now_{std::chrono::hours(1)};
  Clock::time_point next_timer_ = Clock::time_point::max();  // as of the last turn
};

}  // namespace lunar::test
