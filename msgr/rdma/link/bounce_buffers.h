// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "common/unique_function.h"
#include "msgr/rdma/queue/wr_id.h"

namespace lunar::msgr::rdma {

// The bounce buffers of a worker: registered memory, one segment long each, that bytes which are
// not registered are copied to. Shared by all links of the worker; a link that finds none waits
// until any of them puts one back. Loop-bound. Borrows the memory.
class BounceBuffers {
 public:
  // `wake` is called with each waiting link, once, when a buffer is put back.
  BounceBuffers(Bytes memory, uint32_t buffer_bytes, uint32_t lkey,
                UniqueFunction<void(LinkSlot)> wake)
      : memory_(memory), buffer_bytes_(buffer_bytes), lkey_(lkey), wake_(std::move(wake)) {
    const auto count = static_cast<uint32_t>(memory.size() / buffer_bytes);
    for (uint32_t i = count; i > 0; --i) free_.push_back(i - 1);
  }

  // None: they are all in use. Never allocates.
  std::optional<uint32_t> take() noexcept {
    if (free_.empty()) return std::nullopt;
    const uint32_t index = free_.back();
    free_.pop_back();
    return index;
  }
  // REQUIRES: taken, and not put back since.
  void put(uint32_t index) {
    free_.push_back(index);
    if (waiting_.empty()) return;
    for (const LinkSlot slot : std::exchange(waiting_, {})) wake_(slot);
  }
  // REQUIRES: take() just found none, and this link does not wait yet.
  void wait(LinkSlot slot) { waiting_.push_back(slot); }
  void forget_waiting() noexcept { waiting_.clear(); }

  Bytes buffer(uint32_t index) const noexcept {
    return memory_.subspan(std::size_t{index} * buffer_bytes_, buffer_bytes_);
  }
  uint32_t lkey() const noexcept { return lkey_; }

 private:
  const Bytes memory_;
  const uint32_t buffer_bytes_;
  const uint32_t lkey_;
  UniqueFunction<void(LinkSlot)> wake_;
  std::vector<uint32_t> free_;     // indices; the last one is taken next, as it is in the cache
  std::vector<LinkSlot> waiting_;  // each once; not empty only if free_ was found empty since
};

}  // namespace lunar::msgr::rdma
