// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "common/unique_function.h"
#include "objecter/watch_handler.h"

namespace lunar::gateway {

// The acks that an open image owes to those who notified it of a change of its header. An ack says
// that this gateway has no IO in flight beyond the end of the image any more: whoever shrinks it
// may cut then. Loop-bound. Owns the acks until they are given.
class NotifyAcks {
 public:
  using Acks = std::vector<objecter::NotifyReply>;
  // Runs `done` once, later, when no IO that reaches beyond byte `end` is in flight; starts none
  // from the call on.
  using WhenEnded = UniqueFunction<void(uint64_t end, UniqueFunction<void()> done)>;

  // Without it there is no IO, and nothing is waited for. Until stop().
  void watch_ends(WhenEnded when_ended) { when_ended_ = std::move(when_ended); }

  // One more notify is to be acked; take() or release() follows.
  void add(objecter::NotifyReply ack) { owed_.push_back(std::move(ack)); }
  bool has_any() const noexcept { return !owed_.empty(); }
  // Those that a header which is read from now on answers; give() or give_idle() follows.
  Acks take() noexcept;

  // Gives them when no IO beyond `end` is in flight, and then runs `done`: perhaps inside the call.
  void give(Acks acks, uint64_t end, UniqueFunction<void()> done);
  // Gives them for an image that begins no IO any more: what it has in flight may be beyond any
  // end. After stop() that is at release().
  void give_idle(Acks acks);

  // The image closes, and begins no IO from now on.
  void stop();
  // No IO is in flight: gives what is owed, and from now on each at once. REQUIRES: stop().
  void release();

 private:
  enum class State : uint8_t {
    kOpen,      // IO may be in flight: when_ended_ knows
    kClosing,   // IO may be in flight, and release() says when it is over
    kReleased,  // no IO is in flight; owed_ is empty
  };

  State state_ = State::kOpen;
  Acks owed_;
  WhenEnded when_ended_;  // empty unless kOpen; then too if there is no IO to wait for
};

}  // namespace lunar::gateway
