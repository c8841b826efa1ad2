// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>

#include "msgr/session/backoff.h"

namespace lunar::msgr {

// When a session tries to get its next link. A link that was of use makes the next attempt follow
// soon; attempts that fail follow each other ever more slowly. Of a side for whose messages
// somebody waits they never become slow, unless the peer is there and refuses. Does no I/O.
// Loop-bound.
class ReconnectPacing {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  // While nobody answers the pauses are at most `patience`. A seed as for Backoff.
  ReconnectPacing(std::chrono::nanoseconds initial_backoff, std::chrono::nanoseconds max_backoff,
                  std::chrono::nanoseconds patience, uint64_t seed, TimePoint now)
      : useful_life_(initial_backoff),
        patience_(patience),
        backoff_(initial_backoff, max_backoff, seed),
        link_changed_(now) {}

  void on_link_up(TimePoint now) noexcept { link_changed_ = now; }
  // `progress` is SessionExchange::progress(). A link that brought something over was of use,
  // however short it lived: on a bad network the pauses would otherwise grow although each link
  // makes progress.
  void on_link_down(TimePoint now, uint64_t progress) noexcept {
    const bool has_progressed = progress != std::exchange(progress_, progress);
    may_retry_at_once_ = now - link_changed_ >= useful_life_;
    if (may_retry_at_once_ || has_progressed) backoff_.reset();
    link_changed_ = now;
  }
  // The peer refuses this side in a way that another attempt will hardly change.
  void on_refused() noexcept {
    was_refused_ = true;
    backoff_.skip_to_longest();
  }

  // How long to wait before the next attempt. Only a session that exists tries again at once, and
  // only after a link that lived for the first pause at least.
  std::chrono::nanoseconds next(bool has_session) {
    const bool is_at_once = std::exchange(may_retry_at_once_, false) && has_session;
    const bool was_refused = std::exchange(was_refused_, false);
    if (is_at_once) return std::chrono::nanoseconds(0);
    return was_refused ? backoff_.next() : backoff_.next(patience_);
  }
  // The next link is the peer's to make, so that an attempt after that is not the first one.
  void on_waiting_for_peer() noexcept { may_retry_at_once_ = false; }
  // Since the last link went down, or since the beginning. For a session that has no link.
  std::chrono::nanoseconds time_without_link(TimePoint now) const noexcept {
    return now - link_changed_;
  }

 private:
  const std::chrono::nanoseconds useful_life_;
  const std::chrono::nanoseconds patience_;
  Backoff backoff_;
  TimePoint link_changed_;          // when a link last came up or went down
  uint64_t progress_ = 0;           // when the last link went down
  bool was_refused_ = false;        // the last attempt
  bool may_retry_at_once_ = false;  // of the attempt that follows
};

}  // namespace lunar::msgr
