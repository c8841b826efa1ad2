// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstdint>

namespace lunar::msgr::rdma {

// What one work request of a remote_read() or remote_write() moves.
struct FragmentRange {
  uint64_t remote_addr = 0;
  uint32_t local_offset = 0;  // bytes, from the start of the local slice
  uint32_t length = 0;        // bytes; 0 only if the whole operation moves none
  bool is_last = false;       // with its completion the operation is over
};

// Cuts a one-sided operation into fragments, in order. An empty one is one empty fragment, which
// touches no memory and completes as any other. Not thread-safe.
class FragmentCutter {
 public:
  // REQUIRES: fragment_bytes > 0.
  FragmentCutter(uint64_t remote_addr, uint32_t length, uint32_t fragment_bytes) noexcept
      : remote_addr_(remote_addr), length_(length), fragment_bytes_(fragment_bytes) {}

  bool is_done() const noexcept { return is_done_; }
  // REQUIRES: !is_done().
  FragmentRange peek() const noexcept {
    const uint32_t left = length_ - offset_;
    return {remote_addr_ + offset_, offset_, std::min(left, fragment_bytes_),
            left <= fragment_bytes_};
  }
  void pop() noexcept {
    const FragmentRange fragment = peek();
    offset_ += fragment.length;
    is_done_ = fragment.is_last;
  }

 private:
  uint64_t remote_addr_;
  uint32_t length_;
  uint32_t fragment_bytes_;
  uint32_t offset_ = 0;
  bool is_done_ = false;
};

}  // namespace lunar::msgr::rdma
