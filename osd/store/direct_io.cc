// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/direct_io.h"

#include <fcntl.h>

#include <cerrno>

#include "common/log.h"

namespace lunar::osd {

bool DirectIo::wants(uint64_t offset, ConstBytes memory) const noexcept {
  return !is_refused_ && min_bytes_ > 0 && memory.size() >= min_bytes_ &&
         offset % kAlignment == 0 && memory.size() % kAlignment == 0 &&
         reinterpret_cast<uintptr_t>(memory.data()) % kAlignment == 0;
}

IoFile DirectIo::choose(ObjectFile& file, uint64_t offset, ConstBytes memory) {
  if (!wants(offset, memory)) return {file.fd.get()};
  if (!file.direct) {
    const int fd = syscalls_.reopen(file.fd.get(), O_RDWR | O_DIRECT);
    if (fd < 0) {
      must_repeat({-1, true}, fd);
      return {file.fd.get()};
    }
    file.direct = UniqueFd(fd);
  }
  return {file.direct.get(), true};
}

bool DirectIo::must_repeat(IoFile used, int result) {
  if (!used.is_direct || result != -EINVAL) return false;
  LUNAR_LOG(kStore, 0, "{}: no direct IO on this file system: the page cache is used", path_);
  is_refused_ = true;
  return true;
}

}  // namespace lunar::osd
