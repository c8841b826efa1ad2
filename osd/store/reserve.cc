// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/reserve.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"

namespace lunar::osd {

std::error_code Reserve::open() {
  auto fd = tree_.open_file("reserve", O_RDWR | O_CREAT, 0600);
  if (!fd) return fd.error();
  struct stat status {};
  if (::fstat(fd->get(), &status) != 0) return last_system_error();
  struct statvfs space {};
  uint64_t most = wanted_;
  if (tree_.syscalls().file_system_space(fd->get(), space) == 0) {
    most = static_cast<uint64_t>(space.f_blocks) * space.f_frsize / kMaxShare;
  }
  MutexLock lock(mutex_);
  fd_ = std::move(*fd);
  bytes_ = std::min(wanted_, most);
  if (static_cast<uint64_t>(status.st_size) > bytes_) tree_.syscalls().truncate(fd_.get(), bytes_);
  held_ = std::min<uint64_t>(bytes_, static_cast<uint64_t>(status.st_size));
  return {};
}

void Reserve::refill() {
  MutexLock lock(mutex_);
  if (is_full()) return;
  struct statvfs space {};
  if (tree_.syscalls().file_system_space(fd_.get(), space) < 0) return;
  const uint64_t available = static_cast<uint64_t>(space.f_bavail) * space.f_frsize;
  const uint64_t missing = bytes_ - held_;
  uint64_t more = available > margin() ? std::min(missing, available - margin()) : 0;
  if (more < missing) more -= more % step();
  if (more == 0) return;
  if (tree_.syscalls().allocate(fd_.get(), 0, held_, more) == 0) {
    held_ += more;
    // Else a power cut may take it, and the next start may find the disk full. If this fails the
    // space is held all the same.
    tree_.syscalls().sync_file(fd_.get());
  } else {
    tree_.syscalls().truncate(fd_.get(), held_);  // not what it got before it failed
  }
}

bool Reserve::give_step() {
  MutexLock lock(mutex_);
  if (held_ == 0) return false;
  const uint64_t left = held_ > step() ? held_ - step() : 0;
  if (tree_.syscalls().truncate(fd_.get(), left) < 0) return false;
  LUNAR_LOG(kStore, 0, "the disk is full: the reserve goes from {} to {} bytes", held(), left);
  held_ = left;
  return true;
}

}  // namespace lunar::osd
