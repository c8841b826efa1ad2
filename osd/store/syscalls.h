// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <string>

#include "common/bytes.h"
#include "common/result.h"

struct io_uring;
struct statvfs;

namespace lunar::osd {

enum class RingCall : uint8_t { kRead, kWrite, kSync };

// The system calls of a file store that tests want to record, fail, or die in.
// Thread-safe: called on the loop and on the pool's threads. Owns nothing.
// Results are as the kernel's: not negative, or a negative errno. EINTR is handled inside, except
// for syncs, where it counts as a failure.
class Syscalls {
 public:
  virtual ~Syscalls() = default;
  static Syscalls& system() noexcept;

  // openat2; `resolve` is RESOLVE_*.
  virtual int open(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve);
  // What `fd` has open, opened once more.
  virtual int reopen(int fd, int flags);
  // preadv2 and pwritev2 of one span; `flags` is RWF_*.
  virtual ssize_t read(int fd, Bytes into, uint64_t offset, int flags);
  virtual ssize_t write(int fd, ConstBytes from, uint64_t offset, int flags);
  virtual int sync_file(int fd);         // fsync
  virtual int sync_data(int fd);         // fdatasync
  virtual int sync_file_system(int fd);  // syncfs
  virtual int rename(int from_directory, const char* from, int to_directory, const char* to);
  virtual int unlink(int directory, const char* name);
  virtual int make_directory(int directory, const char* name);
  virtual int file_system_space(int fd, struct statvfs& space);  // fstatvfs
  virtual int64_t seek(int fd, uint64_t offset,
                       int whence) noexcept;  // lseek: SEEK_DATA, SEEK_HOLE
  virtual int allocate(int fd, int mode, uint64_t offset, uint64_t length);  // fallocate
  virtual int truncate(int fd, uint64_t size);

  // Which start of the machine this is: what the page cache held before another one is gone.
  virtual Result<std::string> boot_id();
  // How long a call that blocks takes where there are no threads for it (FileStoreOptions::threads
  // is 0); simulated disks only.
  virtual std::chrono::nanoseconds call_time() { return {}; }

  virtual int set_up_ring(unsigned entries, io_uring* ring);
  // A table of fixed buffers, empty; and one of its entries, which pins the memory.
  virtual int reserve_fixed_buffers(io_uring* ring, unsigned count);
  virtual int set_fixed_buffer(io_uring* ring, unsigned index, Bytes memory);
  // What a call that ended in the ring is taken to have returned.
  virtual int ring_result(RingCall call, int result) noexcept;
};

}  // namespace lunar::osd
