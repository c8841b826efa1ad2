// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>

#include "common/file.h"
#include "common/result.h"
#include "msgr/buffer.h"

namespace lunar::msgr::local {

// A sealed memfd that a chunk of an arena is made of. Immutable; shared by the arena and by links
// that still have to hand it over.
struct SharedRegion {
  UniqueFd fd;
  uint64_t id = 0;  // no other one of the arena has it
};

// Memory that can be handed to another process: chunks of 16 MiB (the last one may be smaller),
// each a memfd, cut into slices of powers of two from 4 KiB on. Grows as it is needed: the kernel
// gives pages when they are touched. What is longer than a chunk is plain memory, whose lease is
// not is_registered(). Thread-safe. Outlives its leases.
class SharedArena final : public BufferPool {
 public:
  // REQUIRES: at least 4 KiB.
  explicit SharedArena(std::size_t budget_bytes);
  ~SharedArena() override;

  RegisteredBuffer allocate(std::size_t length) override;
  std::size_t bytes_in_use() const noexcept override;
  bool is_registered(uint32_t cookie) const noexcept override;

  struct Place {
    std::shared_ptr<const SharedRegion> region;
    uint32_t offset = 0;  // bytes
  };
  // Where other processes find that memory; none if it is not of the arena, or was replaced.
  std::optional<Place> find(ConstBytes memory) const;

  // Gives the addresses of `memory` other pages, of this process alone, whose content is zeroes: a
  // process that has the region still writes to the old ones, which nobody reads any more. They
  // can be handed over again when the whole chunk has been free once. With an error nothing has
  // changed (before Linux 6.12, unless the kernel has no memory for the mapping itself). REQUIRES:
  // it begins at a page; to the end of its last page it is of one lease.
  std::error_code replace(Bytes memory);

 protected:
  void release(Bytes slice, uint32_t cookie) noexcept override;

 private:
  struct Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace lunar::msgr::local
