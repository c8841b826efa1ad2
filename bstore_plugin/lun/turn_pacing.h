// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <cstddef>
#include <utility>

#include "msgr/spin_window.h"

namespace lunar::bstore_plugin {

// What the turns of tgtd's loop that are scheduled for a cluster do. While turns bring new
// commands, sending is put off, so that they leave together; a command that is the only one under
// way leaves at once. With ms_busy_poll_us, turns follow each other for a while as long as commands
// wait for their server, so that the reply finds tgtd awake. A state machine without IO; the times
// are the caller's. Not thread-safe.
class TurnPacing {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  explicit TurnPacing(std::chrono::nanoseconds busy_poll) noexcept : window_(busy_poll) {}

  // Whether the times that it is given are of use: otherwise any will do.
  bool can_spin() const noexcept { return window_.is_enabled(); }

  // tgt has submitted a command, or has got one back.
  void on_command_started() noexcept {
    ++under_way_;
    has_new_commands_ = true;
  }
  void on_command_ended() noexcept {
    if (--under_way_ == 0) is_waiting_ = false;
  }
  // There is something in the center that its fd does not tell of.
  void on_posted() noexcept { has_posts_ = true; }
  // The center's fd is readable; all of it is processed now.
  void on_readable(TimePoint now) noexcept;

  // Asked in a turn: whether it does nothing, and another one follows.
  bool must_put_off() noexcept;
  // Then: whether the center is to be processed.
  bool take_posts() noexcept { return std::exchange(has_posts_, false); }
  // At last, and after on_readable(): whether to have another turn, to be awake for a reply.
  bool wants_turn(TimePoint now) noexcept;

 private:
  // A turn of tgtd's loop that brings nothing costs a microsecond: the most that a command waits.
  static constexpr int kMaxPutOff = 16;

  msgr::SpinWindow window_;
  std::size_t under_way_ = 0;
  bool has_new_commands_ = false;  // since must_put_off() was last asked
  bool has_posts_ = false;         // since take_posts() was last asked
  int put_off_ = 0;                // turns in a row
  bool is_waiting_ = false;        // for a reply, since waiting_since_
  TimePoint waiting_since_{};
};

}  // namespace lunar::bstore_plugin
