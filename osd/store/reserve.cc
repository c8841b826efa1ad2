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
  {
    MutexLock lock(mutex_);
    fd_ = std::move(*fd);
    if (static_cast<uint64_t>(status.st_size) > bytes_) {
      tree_.syscalls().truncate(fd_.get(), bytes_);
    }
    held_ = std::min(bytes_, static_cast<uint64_t>(status.st_size));
  }
  refill();
  if (held() < bytes_) {
    LUNAR_LOG(kStore, 0, "the disk is too full for the reserve of {} bytes; it has {}", bytes_,
              held());
  }
  return {};
}

void Reserve::refill() {
  MutexLock lock(mutex_);
  if (held_ == bytes_) return;
  struct statvfs usage {};
  if (::fstatvfs(fd_.get(), &usage) != 0) return;
  const uint64_t available = static_cast<uint64_t>(usage.f_bavail) * usage.f_frsize;
  if (available < 2 * (bytes_ - held_)) return;
  if (tree_.syscalls().allocate(fd_.get(), 0, held_, bytes_ - held_) == 0) {
    held_ = bytes_;
  } else {
    tree_.syscalls().truncate(fd_.get(), held_);  // not what it got before it failed
  }
}

bool Reserve::give_step() {
  MutexLock lock(mutex_);
  if (held_ == 0) return false;
  const uint64_t step = std::max<uint64_t>(bytes_ / kSteps, 1);
  const uint64_t left = held_ > step ? held_ - step : 0;
  if (tree_.syscalls().truncate(fd_.get(), left) < 0) return false;
  LUNAR_LOG(kStore, 0, "the disk is full: the reserve goes from {} to {} bytes", held(), left);
  held_ = left;
  return true;
}

}  // namespace lunar::osd
