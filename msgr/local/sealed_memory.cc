// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/sealed_memory.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "common/check.h"

namespace lunar::msgr::local {
namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

}  // namespace

Result<UniqueFd> make_sealed_memory(std::size_t bytes) {
  LUNAR_CHECK(bytes > 0 && bytes % kPage == 0, "the size of shared memory");
  UniqueFd fd(memfd_create("lunar-msgr", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd || ftruncate(fd.get(), static_cast<off_t>(bytes)) < 0 ||
      fcntl(fd.get(), F_ADD_SEALS, kSeals) < 0) {
    return failure(last_system_error());
  }
  return fd;
}

Result<std::unique_ptr<SharedMapping>> SharedMapping::map(const UniqueFd& fd,
                                                          std::size_t most_bytes) {
  const auto refused = failure(std::make_error_code(std::errc::invalid_argument));
  const int seals = fcntl(fd.get(), F_GET_SEALS);  // fails for what is no file of memory
  constexpr int kUnwritable = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;
  if (seals < 0 || (seals & kSeals) != kSeals || (seals & kUnwritable) != 0) return refused;
  struct statfs filesystem {};
  struct stat file {};
  if (fstatfs(fd.get(), &filesystem) < 0 || fstat(fd.get(), &file) < 0) return refused;
  const auto size = static_cast<std::size_t>(file.st_size);
  if (filesystem.f_type != TMPFS_MAGIC || file.st_size <= 0 || size > most_bytes ||
      size % kPage != 0) {
    return refused;
  }
  void* const begin = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (begin == MAP_FAILED) return failure(last_system_error());
  madvise(begin, size, MADV_DONTFORK);
  madvise(begin, size, MADV_DONTDUMP);
  return std::unique_ptr<SharedMapping>(
      new SharedMapping(Bytes(static_cast<std::byte*>(begin), size)));
}

SharedMapping::~SharedMapping() { munmap(bytes_.data(), bytes_.size()); }

}  // namespace lunar::msgr::local
