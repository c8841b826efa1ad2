// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "common/bytes.h"
#include "osd/store/io_engine.h"
#include "osd/store/object_files.h"
#include "osd/store/syscalls.h"

namespace lunar::osd {

// Which reads and writes bypass the page cache: those of osd_direct_io_bytes and more whose offset,
// length and memory are aligned, until the file system refuses one. README.md has the numbers.
// Loop-bound. Borrows the system calls.
class DirectIo {
 public:
  static constexpr uint64_t kAlignment = 4096;  // bytes; enough for every device and file system

  // `path` is the store's, for the log. `min_bytes` 0: none are direct.
  DirectIo(Syscalls& syscalls, std::string path, std::size_t min_bytes)
      : syscalls_(syscalls), path_(std::move(path)), min_bytes_(min_bytes) {}

  bool wants(uint64_t offset, ConstBytes memory) const noexcept;

  // The descriptor for this transfer: the one with O_DIRECT, opened when it is first wanted, or the
  // file's own.
  IoFile choose(ObjectFile& file, uint64_t offset, ConstBytes memory);

  // After a transfer with `used` that ended with `result`: true if O_DIRECT was refused, so that it
  // must be made again. choose() then gives descriptors of the page cache, from now on.
  bool must_repeat(IoFile used, int result);

 private:
  Syscalls& syscalls_;
  std::string path_;
  std::size_t min_bytes_;
  bool is_refused_ = false;  // by the file system, for good
};

}  // namespace lunar::osd
