// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/fixed_buffers.h"

#include <cerrno>

#include "common/log.h"
#include "common/memlock.h"

namespace lunar::osd {

FixedBuffers::FixedBuffers(msgr::BufferPool& pool, Syscalls& syscalls, io_uring& ring)
    : pool_(pool), syscalls_(syscalls), ring_(ring) {
  const Memlock memlock = raise_memlock();
  if (memlock.available() != Memlock::kUnlimited) {
    LUNAR_LOG(kStore, 1, "io_uring gets no fixed buffers: RLIMIT_MEMLOCK is {}; {}",
              memlock_text(memlock.limit), memlock_advice());
    return;
  }
  const int made = syscalls_.reserve_fixed_buffers(&ring_, kMostRegions);
  is_possible_ = made == 0;
  if (!is_possible_) {
    LUNAR_LOG(kStore, 1, "io_uring has no fixed buffers here: {}", system_error(-made).message());
  }
}

std::optional<uint16_t> FixedBuffers::find(ConstBytes memory) {
  if (!is_possible_ || memory.empty()) return std::nullopt;
  const Bytes region = pool_.region_of(memory.data());
  if (region.empty()) return std::nullopt;
  const auto room = static_cast<std::size_t>(region.data() + region.size() - memory.data());
  if (memory.size() > room) return std::nullopt;
  const auto known = regions_.find(region.data());
  return known != regions_.end() ? known->second : add(region);
}

std::optional<uint16_t> FixedBuffers::add(Bytes region) {
  std::optional<uint16_t> index;
  if (next_ < kMostRegions) {
    const int added = syscalls_.set_fixed_buffer(&ring_, next_, region);
    if (added == 0) {
      index = next_++;
    } else {
      LUNAR_LOG(kStore, 0, "{} of buffers cannot be fixed for io_uring: {}",
                memlock_text(region.size()), system_error(-added).message());
    }
  }
  regions_.emplace(region.data(), index);
  return index;
}

}  // namespace lunar::osd
