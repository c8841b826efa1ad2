// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "osd/store/reserve.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// Which writes of data may take new space of the file system: all that is free, but for a margin
// and what the reserve lacks. So data never takes what the reserve gave, the reserve can be filled
// again, and what replaces or frees goes on when the disk is full.
// Loop-bound. Borrows tree and reserve.
class DataSpace {
 public:
  DataSpace(const StoreTree& tree, const Reserve& reserve) : tree_(tree), reserve_(reserve) {}

  // True: the caller may allocate space for `bytes` at any offset, and calls release() with the
  // same number when it has, or has failed to. A system call, but a quick one, if what the last one
  // granted is used up.
  bool claim(uint64_t bytes);
  void release(uint64_t bytes) noexcept;

  // What data can still take, in bytes. A system call.
  uint64_t available() const;

 private:
  static uint64_t in_blocks(uint64_t bytes) noexcept;

  const StoreTree& tree_;
  const Reserve& reserve_;
  uint64_t granted_ = 0;  // can be claimed without asking the file system
  uint64_t claimed_ = 0;  // and not released: the file system might not count it as used yet
};

}  // namespace lunar::osd
