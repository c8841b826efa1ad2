// SPDX-License-Identifier: LGPL-2.1-or-later
// The program's one thread: poll(2) over a few sockets, and timers.
// Single-threaded. Watched objects are borrowed until unwatch().
#pragma once

#include <poll.h>

#include <chrono>
#include <functional>
#include <map>
#include <vector>

namespace lunar::iscsi_load {

using Clock = std::chrono::steady_clock;

// Something with a socket. fd() is −1 while there is none.
class Pollable {
 public:
  virtual ~Pollable() = default;
  virtual int fd() const = 0;
  virtual short wanted_events() const = 0;
  // `events` may be 0: called once a turn in any case, so that what the turn queued is sent at
  // once.
  virtual void service(short events) = 0;
};

class PollLoop {
 public:
  void watch(Pollable& pollable);
  // Safe from inside service().
  void unwatch(Pollable& pollable);

  // Runs `done` once, at or after `when`, from run_until(). There is no cancel: capture
  // something by which `done` can tell that it is no longer needed.
  void call_at(Clock::time_point when, std::function<void()> done);

  // Turns until `is_finished` returns true between two turns.
  void run_until(const std::function<bool()>& is_finished);

 private:
  void turn();
  void run_due_timers();
  int poll_timeout_ms() const;

  std::vector<Pollable*> watched_;
  std::vector<pollfd> fds_;  // of this turn, with owners_ beside it
  std::vector<Pollable*> owners_;
  std::multimap<Clock::time_point, std::function<void()>> timers_;
};

}  // namespace lunar::iscsi_load
