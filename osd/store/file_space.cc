// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/file_space.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <utility>

#include "osd/store/object_limits.h"
#include "osd/store/store_error.h"

namespace lunar::osd {

using objecter::OsdErrc;

namespace {

constexpr uint64_t kStatBlockBytes = 512;  // stat(2): the unit of st_blocks

Result<uint64_t> size_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return failure(last_system_error());
  return static_cast<uint64_t>(status.st_size);
}

std::error_code write_zeroes(Syscalls& syscalls, int fd, uint64_t offset, uint64_t length) {
  static constexpr std::byte kZeroes[64 * 1024]{};
  while (length > 0) {
    const ConstBytes zeroes(kZeroes, std::min<uint64_t>(length, sizeof kZeroes));
    const ssize_t n = syscalls.write(fd, zeroes, offset, 0);
    if (n <= 0) return n < 0 ? error_in(n) : system_error(EIO);
    offset += static_cast<uint64_t>(n);
    length -= static_cast<uint64_t>(n);
  }
  return {};
}

// Frees [offset, offset + length), cut to the file, which keeps its size.
std::error_code punch(Syscalls& syscalls, int fd, uint64_t offset, uint64_t length) {
  auto size = size_of(fd);
  if (!size) return size.error();
  if (offset >= *size) return {};
  length = std::min(length, *size - offset);
  if (length == 0) return {};
  const int punched =
      syscalls.allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (punched != -EOPNOTSUPP) return error_in(punched);
  return write_zeroes(syscalls, fd, offset, length);
}

Result<ExtentMap> find_extents(Syscalls& syscalls, int fd, uint64_t offset, uint64_t length) {
  ExtentMap map;
  const uint64_t end = offset + length;
  for (uint64_t at = offset; at < end;) {
    const int64_t data = syscalls.seek(fd, at, SEEK_DATA);
    if (data == -ENXIO) break;  // no data from here to the end
    if (data < 0) return failure(error_in(data));
    if (static_cast<uint64_t>(data) >= end) break;
    const int64_t hole = syscalls.seek(fd, static_cast<uint64_t>(data), SEEK_HOLE);
    if (hole == -ENXIO) break;  // truncated meanwhile
    if (hole < 0) return failure(error_in(hole));
    const uint64_t stop = std::min(static_cast<uint64_t>(hole), end);
    map.extents.emplace_back(static_cast<uint64_t>(data), stop - static_cast<uint64_t>(data));
    at = stop;
  }
  return map;
}

}  // namespace

template <typename Change, typename Call>
void FileSpace::change_file(FileRef file, bool must_sync, Change change, Call call) {
  struct ChangeResult {
    std::error_code change;
    std::error_code sync;
  };
  env_.flusher.mark(file);
  env_.pool.run(
      [this, file, must_sync, change = std::move(change)]() mutable -> ChangeResult {
        const int fd = file->fd.get();
        ChangeResult result;
        result.change = env_.reserve.use_for([&] { return change(fd); });
        if (!result.change && must_sync) result.sync = error_in(env_.tree.syscalls().sync_data(fd));
        return result;
      },
      [this, file, call = std::move(call)](ChangeResult result) mutable {
        env_.flusher.mark(file);
        if (!result.sync) {
          return env_.calls.finish(std::move(call), to_store_error(result.change));
        }
        env_.flusher.on_failed_sync(result.sync, file->id,
                                    [this, error = result.sync, call = std::move(call)]() mutable {
                                      env_.calls.finish(std::move(call), to_store_error(error));
                                    });
      });
}

struct FileSpace::Zeroing {
  uint64_t offset = 0;
  uint64_t length = 0;
  bool fua = false;
  DataDone done;
};

void FileSpace::zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua,
                     DataDone done) {
  auto op = std::make_unique<Zeroing>(Zeroing{offset, length, fua, std::move(done)});
  // Any range will do: what lies beyond the object is zero already.
  if (!env_.calls.admit(check_id(id), op)) return;
  env_.files.open(id, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      const auto error = to_store_error(file.error());
      const bool is_absent = error == OsdErrc::kNoSuchObject;
      return env_.calls.finish(std::move(op), is_absent ? std::error_code{} : error);
    }
    const bool must_sync = op->fua;
    const auto zero_range = [this, offset = op->offset, length = op->length](int fd) {
      return punch(env_.tree.syscalls(), fd, offset, length);
    };
    change_file(std::move(*file), must_sync, zero_range, std::move(op));
  });
}

void FileSpace::truncate(const ObjectId& id, uint64_t size, StoreDone done) {
  if (!env_.calls.admit(check_range(id, size, 0), done)) return;
  env_.files.open(id, true, [this, size, done = std::move(done)](Result<FileRef> file) mutable {
    if (!file) return env_.calls.finish(std::move(done), to_store_error(file.error()));
    const auto cut = [this, size](int fd) {
      return error_in(env_.tree.syscalls().truncate(fd, size));
    };
    change_file(std::move(*file), false, cut, std::move(done));
  });
}

void FileSpace::stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) {
  if (!env_.calls.admit(check_id(id), done)) return;
  env_.files.open(id, false, [this, done = std::move(done)](Result<FileRef> file) mutable {
    Result<Stat> result;
    struct stat status {};
    if (!file) {
      result = failure(to_store_error(file.error()));
    } else if (::fstat((*file)->fd.get(), &status) != 0) {
      result = failure(to_store_error(last_system_error()));
    } else {
      result = Stat{static_cast<uint64_t>(status.st_size),
                    static_cast<uint64_t>(status.st_blocks) * kStatBlockBytes};
    }
    env_.calls.finish(std::move(done), std::move(result));
  });
}

void FileSpace::map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                            UniqueFunction<void(Result<ExtentMap>)> done) {
  if (!env_.calls.admit(check_id(id), done)) return;
  offset = std::min(offset, kMaxObjectBytes);
  length = std::min(length, kMaxObjectBytes - offset);
  env_.files.open(
      id, false, [this, offset, length, done = std::move(done)](Result<FileRef> file) mutable {
        if (!file) {
          Result<ExtentMap> result;  // empty
          if (const auto error = to_store_error(file.error()); error != OsdErrc::kNoSuchObject) {
            result = failure(error);
          }
          return env_.calls.finish(std::move(done), std::move(result));
        }
        env_.pool.run(
            [this, file = *file, offset, length] {
              return find_extents(env_.tree.syscalls(), file->fd.get(), offset, length);
            },
            [this, file = *file, done = std::move(done)](Result<ExtentMap> found) mutable {
              if (!found) found = failure(to_store_error(found.error()));
              env_.calls.finish(std::move(done), std::move(found));
            });
      });
}

}  // namespace lunar::osd
