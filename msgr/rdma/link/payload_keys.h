// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/rdma/memory/arena.h"
#include "msgr/rdma/queue/segment.h"

namespace lunar::msgr::rdma {

// The keys of payload memory on one device, wherever the payload lies: in the staging buffers or
// those of the front end.
// Thread-safe. Borrows device and arenas.
class PayloadKeys final : public KeyFinder {
 public:
  PayloadKeys(const Device& device, const Arena& staging, const Arena& front_end) noexcept
      : device_(device), staging_(staging), front_end_(front_end) {}

  bool find(ConstBytes range, uint32_t* lkey) const noexcept override {
    const MemoryKeys* keys = staging_.find(device_, range.data(), range.size());
    if (keys == nullptr) keys = find_front_end(range);
    if (keys == nullptr) return false;
    *lkey = keys->lkey;
    return true;
  }
  // Of memory that may be exposed; null if it may not.
  const MemoryKeys* find_front_end(ConstBytes range) const noexcept {
    return front_end_.find(device_, range.data(), range.size());
  }

 private:
  const Device& device_;
  const Arena& staging_;
  const Arena& front_end_;
};

}  // namespace lunar::msgr::rdma
