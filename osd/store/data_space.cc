// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/data_space.h"

#include <sys/statvfs.h>

#include <algorithm>

#include "common/check.h"

namespace lunar::osd {
namespace {
constexpr uint64_t kBlockBytes = 4096;
// Others use the disk too: what is granted without asking must stay far below what is free.
constexpr uint64_t kMaxGrantBytes = 64 << 20;
}  // namespace

// A write that is not aligned touches one block more.
uint64_t DataSpace::in_blocks(uint64_t bytes) noexcept {
  return (bytes + 2 * kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

bool DataSpace::claim(uint64_t bytes) {
  const uint64_t wanted = in_blocks(bytes);
  if (wanted > granted_) {
    const uint64_t free = available();
    const uint64_t left = free > claimed_ ? free - claimed_ : 0;
    granted_ = 0;
    if (wanted > left) return false;
    granted_ = std::max(wanted, std::min(left / 4, kMaxGrantBytes));
  }
  granted_ -= wanted;
  claimed_ += wanted;
  return true;
}

void DataSpace::release(uint64_t bytes) noexcept {
  LUNAR_CHECK(claimed_ >= in_blocks(bytes), "space was released that nobody had claimed");
  claimed_ -= in_blocks(bytes);
}

uint64_t DataSpace::available() const {
  struct statvfs space {};
  // Where the file system does not say, a write that finds no room says so.
  if (tree_.syscalls().file_system_space(tree_.root(), space) < 0) return UINT64_MAX;
  const uint64_t available = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  const uint64_t kept = reserve_.kept_free();
  return available > kept ? available - kept : 0;
}

}  // namespace lunar::osd
