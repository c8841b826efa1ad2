// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <poll.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <utility>
#include <vector>

#include "bstore_plugin/plugin_api.h"

namespace lunar::bstore_plugin {

// tgtd's loop: what is scheduled, then what is readable. One at a time; on the thread of the test.
class FakeTgtd {
 public:
  struct Ended {
    void* handle;
    lunar_scsi_result result;
    bool was_in_handler;  // of a descriptor
  };
  FakeTgtd() { current = this; }
  static const lunar_host& host() {
    static const lunar_host made{
        [](int fd, void (*on_readable)(void*), void* context) {
          if (current->refuses_to_watch) return -1;
          current->watched_.push_back({fd, on_readable, context});
          return 0;
        },
        [](int) {},
        [](void (*on_turn)(void*), void* context) {
          ++current->schedules;
          const std::pair turn{on_turn, context};
          if (std::ranges::count(current->scheduled_, turn) == 0)
            current->scheduled_.push_back(turn);
        },
        [](void* handle, const lunar_scsi_result* result) {
          current->ended.push_back({handle, *result, current->is_in_handler_});
          if (current->on_end) current->on_end();
        },
        [](const void* handle) {
          ++current->abort_checks;
          return current->aborted.contains(handle) ? 1 : 0;
        },
        [](void*, const lunar_lun_info*) {},
        [](void*, uint64_t) {},
        [] { return -1; },
        [](void*) { return -1; },
        [](int, const char*) {},
    };
    return made;
  }

  void run_scheduled() {
    for (const auto& [on_turn, context] : std::exchange(scheduled_, {})) on_turn(context);
  }
  void turn(int timeout_ms = 0) {
    run_scheduled();
    std::vector<pollfd> entries;
    for (const Watched& each : watched_) entries.push_back({each.fd, POLLIN, 0});
    if (poll(entries.data(), entries.size(), scheduled_.empty() ? timeout_ms : 0) <= 0) return;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      if (entries[i].revents == 0) continue;
      is_in_handler_ = true;
      watched_[i].on_readable(watched_[i].context);
      is_in_handler_ = false;
    }
  }
  template <typename Done>
  bool turn_until(Done is_over) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    while (!is_over() && std::chrono::steady_clock::now() < deadline) turn(10);
    return is_over();
  }
  std::size_t watched() const { return watched_.size(); }
  bool has_scheduled() const { return !scheduled_.empty(); }

  bool refuses_to_watch = false;
  int schedules = 0;
  int abort_checks = 0;
  std::vector<Ended> ended;
  std::set<const void*> aborted;
  std::function<void()> on_end;

 private:
  struct Watched {
    int fd;
    void (*on_readable)(void*);
    void* context;
  };
  static inline FakeTgtd* current = nullptr;
  std::vector<Watched> watched_;
  std::vector<std::pair<void (*)(void*), void*>> scheduled_;
  bool is_in_handler_ = false;
};

}  // namespace lunar::bstore_plugin
