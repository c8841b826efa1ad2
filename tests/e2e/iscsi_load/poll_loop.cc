// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/poll_loop.h"

#include <algorithm>
#include <cstdint>

namespace lunar::iscsi_load {

void PollLoop::watch(Pollable& pollable) { watched_.push_back(&pollable); }

void PollLoop::unwatch(Pollable& pollable) {
  // The slot stays until the turn ends: turn() may be walking the vector.
  std::replace(watched_.begin(), watched_.end(), &pollable, static_cast<Pollable*>(nullptr));
}

void PollLoop::call_at(Clock::time_point when, std::function<void()> done) {
  timers_.emplace(when, std::move(done));
}

void PollLoop::run_until(const std::function<bool()>& is_finished) {
  while (!is_finished()) turn();
}

void PollLoop::turn() {
  std::erase(watched_, nullptr);
  fds_.clear();
  owners_.clear();
  for (Pollable* pollable : watched_) {
    if (pollable->fd() < 0) continue;
    fds_.push_back({pollable->fd(), pollable->wanted_events(), 0});
    owners_.push_back(pollable);
  }
  if (::poll(fds_.data(), fds_.size(), poll_timeout_ms()) < 0) {
    for (pollfd& fd : fds_) fd.revents = 0;  // EINTR: nothing is known, look again
  }
  run_due_timers();
  for (size_t i = 0; i < owners_.size(); ++i) {
    bool is_watched = std::find(watched_.begin(), watched_.end(), owners_[i]) != watched_.end();
    if (is_watched && owners_[i]->fd() == fds_[i].fd) owners_[i]->service(fds_[i].revents);
  }
}

void PollLoop::run_due_timers() {
  auto now = Clock::now();
  while (!timers_.empty() && timers_.begin()->first <= now) {
    auto done = std::move(timers_.begin()->second);
    timers_.erase(timers_.begin());
    done();
  }
}

int PollLoop::poll_timeout_ms() const {
  if (timers_.empty()) return -1;
  auto wait = std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - Clock::now());
  return static_cast<int>(std::clamp<int64_t>(wait.count(), 0, 60'000));
}

}  // namespace lunar::iscsi_load
