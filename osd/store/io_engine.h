// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>

#include "common/bytes.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "msgr/event_center.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/syscalls.h"

namespace lunar::osd {

// Reads, writes and syncs that may have to wait for a disk, without making the loop wait.
// Loop-bound. Borrows fd and memory until done, which runs later with the kernel's result (bytes,
// possibly fewer than asked for, or a negative errno).
class IoEngine {
 public:
  using Done = UniqueFunction<void(int result)>;
  virtual ~IoEngine() = default;
  virtual void read(int fd, Bytes into, uint64_t offset, Done done) = 0;
  virtual void write(int fd, ConstBytes from, uint64_t offset, int rwf_flags, Done done) = 0;
  virtual void sync(int fd, bool data_only, Done done) = 0;
  virtual const char* name() const noexcept = 0;
};

// io_uring. Fails where the kernel or a container's filter refuses it.
Result<std::unique_ptr<IoEngine>> make_uring_engine(msgr::EventCenter& center, Syscalls& syscalls);
// The same calls, blocking, on the pool's threads.
std::unique_ptr<IoEngine> make_pool_engine(BlockingPool& pool, Syscalls& syscalls);

}  // namespace lunar::osd
