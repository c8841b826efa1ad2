// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace lunar::msgr {

// The acknowledgement that a link owes for the messages it received. Each frame that leaves carries
// the newest one; a frame of its own is due only when enough came, or kDelay passed, without one.
// Does no I/O. Loop-bound.
class OwedAck {
 public:
  static constexpr std::chrono::milliseconds kDelay{10};  // the link's timer
  static constexpr uint32_t kMostMessages = 32;
  static constexpr std::size_t kMostBytes = std::size_t{1} << 20;

  // A message arrived. Returns whether a frame of its own is due now.
  bool add(std::size_t bytes) noexcept {
    messages_ += 1;
    bytes_ += bytes;
    return messages_ >= kMostMessages || bytes_ >= kMostBytes;
  }
  // A frame leaves, with the acknowledgement.
  void clear() noexcept { messages_ = 0, bytes_ = 0; }
  bool is_owed() const noexcept { return messages_ > 0; }

 private:
  uint32_t messages_ = 0;  // since a frame last left
  std::size_t bytes_ = 0;  // of those
};

}  // namespace lunar::msgr
