// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "common/bytes.h"
#include "msgr/rdma/queue/segment.h"
#include "msgr/rdma/verbs.h"

namespace lunar::msgr::rdma {

// Work requests that are posted with one call, and so with one doorbell. Loop-bound; used within
// one function, again and again.
class PostChain {
 public:
  static constexpr std::size_t kMaxRequests = 64;
  static constexpr uint32_t kMaxElements = 8;  // of one gather list
  static constexpr uint32_t kMaxInline = 256;  // bytes

  void clear() noexcept { count_ = 0; }
  bool is_empty() const noexcept { return count_ == 0; }
  bool is_full() const noexcept { return count_ == kMaxRequests; }
  std::size_t count() const noexcept { return count_; }
  // Memory of the next request for what is sent inline: gone after post().
  Bytes inline_memory() noexcept { return inline_[count_]; }
  // The new request, to be completed by the caller; valid until post() or clear(). `elements` are
  // copied; what they point to is borrowed until the request completes, unless it is sent inline.
  // REQUIRES: !is_full(), elements.size() <= kMaxElements.
  ibv_send_wr& add(ibv_wr_opcode opcode, uint64_t wr_id, std::span<const GatherElement> elements,
                   unsigned flags) noexcept;
  ibv_send_wr& last() noexcept { return requests_[count_ - 1]; }
  // Rings the doorbell once, and empties the chain. Returns an errno or 0, and how many of the last
  // requests the device did not take.
  int post(ibv_qp* qp, std::size_t* untaken) noexcept;

 private:
  std::size_t count_ = 0;
  std::array<ibv_send_wr, kMaxRequests> requests_;
  std::array<std::array<ibv_sge, kMaxElements>, kMaxRequests> sges_;
  std::array<std::array<std::byte, kMaxInline>, kMaxRequests> inline_;
};

}  // namespace lunar::msgr::rdma
