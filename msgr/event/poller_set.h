// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "msgr/event_center.h"

namespace lunar::msgr {

// The pollers of a center. One may be added or removed while they are polled, armed or disarmed.
// Loop-bound. Borrows the pollers until they are removed.
class PollerSet {
 public:
  void add(Poller* poller) { entries_.push_back({poller}); }
  void remove(Poller* poller) noexcept {
    for (Entry& entry : entries_) {
      if (entry.poller == poller) entry.poller = nullptr;
    }
  }
  bool is_empty() const noexcept {
    return std::all_of(entries_.begin(), entries_.end(),
                       [](const Entry& entry) { return entry.poller == nullptr; });
  }

  // Returns whether any of them had something to do.
  bool poll() {
    bool did = false;
    for (std::size_t i = 0; i < entries_.size(); ++i) {  // by index: poll() may add another
      if (entries_[i].poller != nullptr) did |= entries_[i].poller->poll();
    }
    std::erase_if(entries_, [](const Entry& entry) { return entry.poller == nullptr; });
    return did;
  }
  // All of them, or none: false if one has work.
  bool try_arm() {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (entries_[i].poller == nullptr || entries_[i].is_armed) continue;
      const bool is_armed = entries_[i].poller->try_arm();
      entries_[i].is_armed = is_armed;
      if (!is_armed) {
        disarm();
        return false;
      }
    }
    return true;
  }
  void disarm() {
    for (std::size_t i = 0; i < entries_.size(); ++i) {
      if (std::exchange(entries_[i].is_armed, false) && entries_[i].poller != nullptr) {
        entries_[i].poller->disarm();
      }
    }
  }

 private:
  struct Entry {
    Poller* poller;  // null: removed; the entry goes when the next poll() is over
    bool is_armed = false;
  };
  std::vector<Entry> entries_;
};

}  // namespace lunar::msgr
