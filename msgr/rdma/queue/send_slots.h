// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar::msgr::rdma {

// The send queue of one QP: how many work requests are on it, and which of them ask for a
// completion. A completion, good or bad, says that everything before it is over too
// (ibv_post_send(3), IBV_SEND_SIGNALED). Loop-bound.
class SendSlots {
 public:
  // The last `reserved` slots are for control work: credits, farewell, beacon.
  SendSlots(uint32_t capacity, uint32_t reserved) noexcept
      : capacity_(capacity), reserved_(reserved), signal_every_(capacity / 4) {}

  uint32_t in_flight() const noexcept { return next_ - first_; }
  // Slots for work that is not control.
  uint32_t free() const noexcept {
    const uint32_t used = in_flight() + reserved_;
    return used < capacity_ ? capacity_ - used : 0;
  }
  bool has_control_slot() const noexcept { return in_flight() + 1 < capacity_; }  // + the beacon
  // The next request must ask for a completion: so many before it did not that the queue could fill
  // up with work whose end no completion reports.
  bool must_signal() const noexcept { return unsignalled_ + 1 >= signal_every_; }

  // Returns the sequence number. REQUIRES: a slot is free.
  uint32_t post(bool is_signalled) noexcept {
    unsignalled_ = is_signalled ? 0 : unsignalled_ + 1;
    return next_++;
  }
  // The completion of `seq` came. Returns how many requests are over, from the oldest on; 0 if it
  // is not in flight.
  uint32_t retire(uint32_t seq) noexcept {
    const uint32_t count = seq - first_ + 1;
    if (count == 0 || count > in_flight()) return 0;
    first_ += count;
    return count;
  }
  uint32_t next() const noexcept { return next_; }
  // The newest one asks for a completion after all.
  void signal_last() noexcept { unsignalled_ = 0; }
  // The newest were not taken by the device after all.
  void unpost(uint32_t count) noexcept { next_ -= count; }

 private:
  const uint32_t capacity_;
  const uint32_t reserved_;
  const uint32_t signal_every_;
  uint32_t first_ = 0;  // sequence numbers wrap around
  uint32_t next_ = 0;
  uint32_t unsignalled_ = 0;
};

}  // namespace lunar::msgr::rdma
