// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/inline_function.h"
#include "msgr/event_center.h"

namespace lunar::msgr {

// Functions to run at a time: a binary heap whose entries know their place, so that cancelling is
// as cheap as adding. Keeps no clock. Not thread-safe. Owns the functions until they run.
class TimerQueue {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  TimerId add(TimePoint deadline, InlineFunction<void()> fn);
  // False if the timer is not in the queue any more. The function is destroyed before this returns.
  bool cancel(TimerId id);

  // Runs what is due at `now`, by deadline and then in the order added. What those functions add
  // waits for the next call, due or not. Returns how many ran.
  int run_due(TimePoint now);

  std::optional<TimePoint> next_deadline() const noexcept;
  bool empty() const noexcept { return heap_.empty(); }
  void clear();

 private:
  static constexpr uint32_t kNotQueued = UINT32_MAX;
  struct TimerSlot {
    InlineFunction<void()> fn;
    uint32_t generation = 1;      // upper half of the id, so that a slot's reuse is a new id
    uint32_t place = kNotQueued;  // in heap_
  };
  struct Entry {
    TimePoint deadline;
    uint64_t order;
    uint32_t slot;
    bool operator<(const Entry& other) const noexcept {
      return deadline != other.deadline ? deadline < other.deadline : order < other.order;
    }
  };

  InlineFunction<void()> take(uint32_t place);
  void put(uint32_t place, Entry entry) noexcept;
  void sift_up(uint32_t place, Entry entry) noexcept;
  void sift_down(uint32_t place, Entry entry) noexcept;

  std::vector<Entry> heap_;
  std::vector<TimerSlot> slots_;
  std::vector<uint32_t> free_slots_;
  uint64_t next_order_ = 0;
};

}  // namespace lunar::msgr
