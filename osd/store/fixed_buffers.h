// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>

#include "common/bytes.h"
#include "msgr/buffer.h"
#include "osd/store/syscalls.h"

struct io_uring;

namespace lunar::osd {

// What of a pool's memory an io_uring knows as fixed buffers, which it neither pins nor maps anew
// for each call (io_uring_register(2), IORING_REGISTER_BUFFERS2). That pays for direct IO only:
// README.md has the numbers. Regions of the pool are made
// known when memory of theirs is used first, which pins them: some milliseconds, once each.
// Linux counts pages pinned for an RDMA device and those pinned here one by one against
// RLIMIT_MEMLOCK, and the device must not go short: with a limit there are no fixed buffers.
// Loop-bound. Borrows pool, calls and ring, which is set up.
class FixedBuffers {
 public:
  FixedBuffers(msgr::BufferPool& pool, Syscalls& syscalls, io_uring& ring);

  // The index of the region that has all of `memory`; none if the call has to be a plain one.
  std::optional<uint16_t> find(ConstBytes memory);

 private:
  static constexpr unsigned kMostRegions = 1024;
  std::optional<uint16_t> add(Bytes region);

  msgr::BufferPool& pool_;
  Syscalls& syscalls_;
  io_uring& ring_;
  bool is_possible_ = false;
  std::map<const std::byte*, std::optional<uint16_t>> regions_;  // by begin; none: it was refused
  uint16_t next_ = 0;
};

}  // namespace lunar::osd
