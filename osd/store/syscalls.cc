// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/syscalls.h"

#include <fcntl.h>
#include <liburing.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <string>

#include "common/file.h"

namespace lunar::osd {
namespace {

template <typename Call>
auto retried(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result < 0 ? static_cast<decltype(result)>(-errno) : result;
}

int once(int result) { return result < 0 ? -errno : result; }

}  // namespace

Syscalls& Syscalls::system() noexcept {
  static Syscalls syscalls;
  return syscalls;
}

int Syscalls::open(int directory, const char* path, uint64_t flags, mode_t mode, uint64_t resolve) {
  open_how how{};
  how.flags = flags;
  how.mode = mode;
  how.resolve = resolve;
  return static_cast<int>(
      retried([&] { return ::syscall(SYS_openat2, directory, path, &how, sizeof how); }));
}

int Syscalls::reopen(int fd, int flags) {
  const std::string path = "/proc/self/fd/" + std::to_string(fd);
  return retried([&] { return ::open(path.c_str(), flags | O_CLOEXEC); });
}

ssize_t Syscalls::read(int fd, Bytes into, uint64_t offset, int flags) {
  const iovec vector{into.data(), into.size()};
  return retried([&] { return ::preadv2(fd, &vector, 1, static_cast<off_t>(offset), flags); });
}

ssize_t Syscalls::write(int fd, ConstBytes from, uint64_t offset, int flags) {
  const iovec vector{const_cast<std::byte*>(from.data()), from.size()};
  return retried([&] { return ::pwritev2(fd, &vector, 1, static_cast<off_t>(offset), flags); });
}

int Syscalls::sync_file(int fd) { return once(::fsync(fd)); }
int Syscalls::sync_data(int fd) { return once(::fdatasync(fd)); }
int Syscalls::sync_file_system(int fd) { return once(::syncfs(fd)); }

int Syscalls::rename(int from_directory, const char* from, int to_directory, const char* to) {
  return retried([&] { return ::renameat(from_directory, from, to_directory, to); });
}

int Syscalls::unlink(int directory, const char* name) {
  return retried([&] { return ::unlinkat(directory, name, 0); });
}

int Syscalls::make_directory(int directory, const char* name) {
  return retried([&] { return ::mkdirat(directory, name, 0700); });
}

int Syscalls::file_system_space(int fd, struct statvfs& space) {
  return retried([&] { return ::fstatvfs(fd, &space); });
}

int64_t Syscalls::seek(int fd, uint64_t offset, int whence) noexcept {
  const off_t at = ::lseek(fd, static_cast<off_t>(offset), whence);
  return at < 0 ? -errno : at;
}

int Syscalls::allocate(int fd, int mode, uint64_t offset, uint64_t length) {
  return retried([&] {
    return ::fallocate(fd, mode, static_cast<off_t>(offset), static_cast<off_t>(length));
  });
}

int Syscalls::truncate(int fd, uint64_t size) {
  return retried([&] { return ::ftruncate(fd, static_cast<off_t>(size)); });
}

Result<std::string> Syscalls::boot_id() {
  auto boot_id = read_file("/proc/sys/kernel/random/boot_id", 256);
  if (!boot_id) return failure(boot_id.error().code);
  return boot_id->substr(0, boot_id->find('\n'));
}

int Syscalls::set_up_ring(unsigned entries, io_uring* ring) {
  return io_uring_queue_init(entries, ring, IORING_SETUP_CLAMP);
}

int Syscalls::reserve_fixed_buffers(io_uring* ring, unsigned count) {
  return io_uring_register_buffers_sparse(ring, count);
}

int Syscalls::set_fixed_buffer(io_uring* ring, unsigned index, Bytes memory) {
  const iovec vector{memory.data(), memory.size()};
  const __u64 tag = 0;
  const int set = io_uring_register_buffers_update_tag(ring, index, &vector, &tag, 1);
  return std::min(set, 0);  // how many were set, or an error
}

int Syscalls::ring_result(RingCall, int result) noexcept { return result; }

}  // namespace lunar::osd
