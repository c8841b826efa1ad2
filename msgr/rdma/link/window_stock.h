// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "common/unique_function.h"
#include "msgr/rdma/memory/growth.h"
#include "msgr/rdma/queue/window.h"

namespace lunar::msgr::rdma {

// The memory windows of a worker that are not bound. Allocating one blocks, so it asks for more
// before the last is taken, and has none until the answer is there.
// Loop-bound. Borrows the windows.
class WindowStock {
 public:
  static constexpr uint32_t kAtOnce = 64;  // how many are allocated at a time

  // `ask_for_more` is answered by add(), later; it is not called again before that.
  explicit WindowStock(UniqueFunction<void()> ask_for_more) : ask_(std::move(ask_for_more)) {}

  // The first ones. Without this call there are none, and none are asked for.
  void begin(std::vector<Window> windows) {
    windows_ = std::move(windows);
    growth_.begin();
  }
  // None if there is none just now.
  Window take(Growth::TimePoint now) {
    if (windows_.size() < kAtOnce / 4) ask(now);
    if (windows_.empty()) return {};
    const Window window = windows_.back();
    windows_.pop_back();
    return window;
  }
  // REQUIRES: it is not bound.
  void put(const Window& window) { windows_.push_back(window); }
  // The answer. Empty: there are no more for a while.
  void add(const std::vector<Window>& windows, Growth::TimePoint now) {
    windows_.insert(windows_.end(), windows.begin(), windows.end());
    is_asked_ = false;
    if (windows.empty()) growth_.failed(now);
  }
  // No answer will come.
  void forget_asking() noexcept { is_asked_ = false; }

 private:
  void ask(Growth::TimePoint now) {
    if (!growth_.may_go_on(now) || std::exchange(is_asked_, true)) return;
    ask_();
  }

  UniqueFunction<void()> ask_;
  std::vector<Window> windows_;
  Growth growth_;
  bool is_asked_ = false;  // between ask_() and add()
};

}  // namespace lunar::msgr::rdma
