// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>

#include "common/bytes.h"
#include "common/inline_function.h"
#include "common/result.h"
#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/store_counters.h"
#include "osd/store/syscalls.h"

namespace lunar::osd {

// One descriptor of a file, borrowed.
struct IoFile {
  int fd = -1;
  bool is_direct = false;  // opened with O_DIRECT
};

// Reads, writes and syncs that may have to wait for a disk, without blocking the loop.
// Loop-bound. Borrows fd and memory until done, which runs later with the kernel's result (bytes,
// possibly fewer than asked for, or a negative errno).
class IoEngine {
 public:
  using Done = InlineFunction<void(int result)>;
  virtual ~IoEngine() = default;
  virtual void read(IoFile file, Bytes into, uint64_t offset, Done done) = 0;
  virtual void write(IoFile file, ConstBytes from, uint64_t offset, int rwf_flags, Done done) = 0;
  virtual void sync(int fd, bool is_data_only, Done done) = 0;
  virtual const char* name() const noexcept = 0;
};

// io_uring, which also knows the regions of `pool`. Fails where the kernel or a container's filter
// refuses it. Borrows all of them.
Result<std::unique_ptr<IoEngine>> make_uring_engine(msgr::EventCenter& center,
                                                    msgr::BufferPool& pool, Syscalls& syscalls,
                                                    StoreCounters& counters);
// The same calls, blocking, on the pool's threads.
std::unique_ptr<IoEngine> make_pool_engine(BlockingPool& pool, Syscalls& syscalls);

}  // namespace lunar::osd
