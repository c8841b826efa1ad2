// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/host.h"
#include "common/random.h"
#include "msgr/event_center.h"

namespace lunar::sim {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

// One simulated process's loop. It keeps time by the host's clock, and may have a wall clock of its
// own. Never destroyed while the host runs: a process that is killed leaves it behind.
class SimLoop final : public msgr::TimeSource {
 public:
  TimePoint now() noexcept override;
  const std::string name;
  std::unique_ptr<msgr::EventCenter> center;
  Duration wall_offset{};

 private:
  friend class SimHost;
  SimLoop(class SimHost& host, std::string loop_name) : name(std::move(loop_name)), host_(host) {}
  SimHost& host_;
  TimePoint deadline_ = TimePoint::max();
  bool is_ready_ = true;
  bool is_paused_ = false;
  bool is_dead_ = false;
};

// Virtual time, random numbers and the order in which loops run: all of it follows from one seed.
// One per process, installed as the simulated host as long as it lives. Not thread-safe.
class SimHost final : public SimulatedHost {
 public:
  explicit SimHost(uint64_t seed);
  ~SimHost() override;

  SimLoop& make_loop(const std::string& name);
  void pause(SimLoop& loop, bool is_paused) { loop.is_paused_ = is_paused; }
  void kill(SimLoop& loop) { loop.is_dead_ = true; }

  // Runs `fn` at a time, between turns of loops.
  void at(TimePoint when, std::function<void()> fn) { events_.emplace(when, std::move(fn)); }
  void after(Duration delay, std::function<void()> fn) { at(now_ + delay, std::move(fn)); }
  // Turns loops until `until` is true, or the time has come. True in the first case.
  bool run(const std::function<bool()>& until, TimePoint limit);

  TimePoint now() const noexcept { return now_; }
  Duration elapsed() const noexcept { return now_ - kStart; }
  // For what the simulator decides; what the product takes comes from another engine.
  RandomEngine& random() noexcept { return random_; }
  uint64_t below(uint64_t limit) { return limit == 0 ? 0 : random_() % limit; }
  Duration between(Duration low, Duration high) {
    return low + Duration(static_cast<int64_t>(below(static_cast<uint64_t>((high - low).count()))));
  }
  // Of every turn so far: two runs of one seed give the same.
  uint64_t trace_hash() const noexcept { return hash_; }
  void mix(uint64_t value) noexcept { hash_ = (hash_ ^ value) * 0x100000001b3U; }
  uint64_t turns() const noexcept { return turns_; }

  // SimulatedHost
  TimePoint monotonic_now() noexcept override { return now_; }
  std::chrono::system_clock::time_point wall_now() noexcept override;
  void fill_random(Bytes into) noexcept override;
  void on_deadline(const void* time_source, TimePoint deadline) noexcept override;
  void on_posted(const void* time_source) noexcept override;

 private:
  static constexpr TimePoint kStart{std::chrono::hours(1)};
  bool step(TimePoint limit);

  TimePoint now_ = kStart;
  RandomEngine random_;
  RandomEngine product_random_;
  std::vector<std::unique_ptr<SimLoop>> loops_;
  std::multimap<TimePoint, std::function<void()>> events_;
  SimLoop* current_ = nullptr;
  uint64_t hash_ = 0xcbf29ce484222325U;
  uint64_t turns_ = 0;
};

}  // namespace lunar::sim
