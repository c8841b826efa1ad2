// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar::osd {

// How full a store is. One of the interfaces that an ObjectStore is made of; who only shows that
// takes this one, and a fake of it implements nothing else.
// Loop-bound to the center of the store.
class StoreSpace {
 public:
  // Space of the whole store, in bytes. What objects can still take is `available`.
  struct Usage {
    uint64_t total = 0;      // 0: not known
    uint64_t used = 0;       // by whatever is on the file system
    uint64_t available = 0;  // may be less than total - used
  };
  virtual ~StoreSpace() = default;

  // A system call, but quick. All zero if the file system does not answer.
  virtual Usage usage() const = 0;
};

}  // namespace lunar::osd
