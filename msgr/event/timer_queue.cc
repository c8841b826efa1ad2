// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/event/timer_queue.h"

#include <utility>

namespace lunar::msgr {

TimerId TimerQueue::add(TimePoint deadline, InlineFunction<void()> fn) {
  uint32_t slot;
  if (free_slots_.empty()) {
    slot = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back();
  } else {
    slot = free_slots_.back();
    free_slots_.pop_back();
  }
  slots_[slot].fn = std::move(fn);
  heap_.emplace_back();
  sift_up(static_cast<uint32_t>(heap_.size() - 1), Entry{deadline, next_order_++, slot});
  return static_cast<TimerId>(uint64_t{slots_[slot].generation} << 32 | slot);
}

bool TimerQueue::cancel(TimerId id) {
  const auto slot = static_cast<uint32_t>(static_cast<uint64_t>(id));
  const auto generation = static_cast<uint32_t>(static_cast<uint64_t>(id) >> 32);
  if (slot >= slots_.size() || slots_[slot].generation != generation ||
      slots_[slot].place == kNotQueued) {
    return false;
  }
  const InlineFunction<void()> dropped = take(slots_[slot].place);
  return true;
}

int TimerQueue::run_due(TimePoint now) {
  const uint64_t end = next_order_;
  int ran = 0;
  // An entry added meanwhile sorts behind every older one of the same deadline, and `now` is not
  // after its deadline unless it asked for the past: then it stops the loop one call early.
  while (!heap_.empty() && heap_.front().deadline <= now && heap_.front().order < end) {
    InlineFunction<void()> fn = take(0);
    fn();
    ++ran;
  }
  return ran;
}

std::optional<TimerQueue::TimePoint> TimerQueue::next_deadline() const noexcept {
  if (heap_.empty()) return std::nullopt;
  return heap_.front().deadline;
}

void TimerQueue::clear() {
  while (!heap_.empty()) {
    const InlineFunction<void()> dropped = take(0);
  }
}

InlineFunction<void()> TimerQueue::take(uint32_t place) {
  const uint32_t slot_index = heap_[place].slot;
  const Entry last = heap_.back();
  heap_.pop_back();
  if (place < heap_.size()) {
    if (place > 0 && last < heap_[(place - 1) / 2]) {
      sift_up(place, last);
    } else {
      sift_down(place, last);
    }
  }
  TimerSlot& slot = slots_[slot_index];
  InlineFunction<void()> fn = std::move(slot.fn);
  slot.place = kNotQueued;
  if (++slot.generation != 0) free_slots_.push_back(slot_index);  // 0: used up, never reused
  return fn;
}

void TimerQueue::put(uint32_t place, Entry entry) noexcept {
  heap_[place] = entry;
  slots_[entry.slot].place = place;
}

void TimerQueue::sift_up(uint32_t place, Entry entry) noexcept {
  while (place > 0) {
    const uint32_t parent = (place - 1) / 2;
    if (!(entry < heap_[parent])) break;
    put(place, heap_[parent]);
    place = parent;
  }
  put(place, entry);
}

void TimerQueue::sift_down(uint32_t place, Entry entry) noexcept {
  const auto size = static_cast<uint32_t>(heap_.size());
  for (;;) {
    uint32_t child = 2 * place + 1;
    if (child >= size) break;
    if (child + 1 < size && heap_[child + 1] < heap_[child]) ++child;
    if (!(heap_[child] < entry)) break;
    put(place, heap_[child]);
    place = child;
  }
  put(place, entry);
}

}  // namespace lunar::msgr
