// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Bytes of objects. What the page cache has is read at once, and small writes go straight into it:
// README.md has the numbers. Everything that may wait goes to the engine or the pool.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "common/log.h"
#include "osd/store/file_store_impl.h"

namespace lunar::osd {

using objecter::OsdErrc;

namespace {

constexpr uint64_t kMaxObjectBytes = 1ULL << 40;
constexpr uint64_t kDirectAlignment = 4096;  // as every device and file system takes

std::error_code check(const ObjectId& id, uint64_t offset, uint64_t length) {
  if (!is_valid_object_id(id)) return OsdErrc::kInvalid;
  if (offset > kMaxObjectBytes || length > kMaxObjectBytes - offset) return OsdErrc::kTooLarge;
  return {};
}

std::error_code as_error(ssize_t result) {
  return result < 0 ? system_error(static_cast<int>(-result)) : std::error_code{};
}

Result<uint64_t> size_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return failure(last_system_error());
  return static_cast<uint64_t>(status.st_size);
}

std::error_code write_zeroes(Syscalls& syscalls, int fd, uint64_t offset, uint64_t length) {
  static constexpr std::byte kZeroes[64 * 1024]{};
  while (length > 0) {
    const ConstBytes piece(kZeroes, std::min<uint64_t>(length, sizeof kZeroes));
    const ssize_t n = syscalls.write(fd, piece, offset, 0);
    if (n <= 0) return n < 0 ? as_error(n) : system_error(EIO);
    offset += static_cast<uint64_t>(n);
    length -= static_cast<uint64_t>(n);
  }
  return {};
}

// Frees [offset, offset + length), cut to the object, which keeps its size.
std::error_code punch(Syscalls& syscalls, int fd, uint64_t offset, uint64_t length) {
  auto size = size_of(fd);
  if (!size) return size.error();
  if (offset >= *size) return {};
  length = std::min(length, *size - offset);
  if (length == 0) return {};
  const int punched =
      syscalls.allocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
  if (punched != -EOPNOTSUPP) return as_error(punched);
  return write_zeroes(syscalls, fd, offset, length);
}

Result<ExtentMap> find_extents(int fd, uint64_t offset, uint64_t length) {
  ExtentMap map;
  const uint64_t end = offset + length;
  for (uint64_t at = offset; at < end;) {
    const off_t data = ::lseek(fd, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0 && errno == ENXIO) break;  // no data from here to the end
    if (data < 0) return failure(last_system_error());
    if (static_cast<uint64_t>(data) >= end) break;
    const off_t hole = ::lseek(fd, data, SEEK_HOLE);
    if (hole < 0 && errno == ENXIO) break;  // truncated meanwhile
    if (hole < 0) return failure(last_system_error());
    const uint64_t stop = std::min(static_cast<uint64_t>(hole), end);
    map.extents.emplace_back(static_cast<uint64_t>(data), stop - static_cast<uint64_t>(data));
    at = stop;
  }
  return map;
}

}  // namespace

struct FileStore::Transfer {
  ObjectId id;
  uint64_t offset = 0;  // of what is left
  Bytes into;           // a read: what is left
  ConstBytes from;      // a write: what is left
  bool fua = false;
  DataDone done;
  FileRef file;
};

void FileStore::read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) {
  if (!admit(check(id, offset, into.size()), done)) return;
  auto op = std::make_unique<Transfer>();
  op->id = id;
  op->offset = offset;
  op->into = into;
  op->done = std::move(done);
  const ObjectId& name = op->id;
  with_file(name, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      std::ranges::fill(op->into, std::byte{});
      return finish(std::move(op->done), to_store_error(file.error()));
    }
    op->file = std::move(*file);
    continue_read(std::move(op));
  });
}

bool FileStore::is_for_direct(uint64_t offset, ConstBytes memory) const noexcept {
  return can_be_direct_ && options_.direct_io_bytes > 0 &&
         memory.size() >= options_.direct_io_bytes && offset % kDirectAlignment == 0 &&
         memory.size() % kDirectAlignment == 0 &&
         reinterpret_cast<uintptr_t>(memory.data()) % kDirectAlignment == 0;
}

IoEngine::Target FileStore::target_of(ObjectFile& file, uint64_t offset, ConstBytes memory) {
  if (!is_for_direct(offset, memory)) return {file.fd.get()};
  if (!file.direct) {
    const int fd = syscalls_.reopen(file.fd.get(), O_RDWR | O_DIRECT);
    if (fd < 0) {
      gives_up_direct({-1, true}, fd);
      return {file.fd.get()};
    }
    file.direct = UniqueFd(fd);
  }
  return {file.direct.get(), true};
}

bool FileStore::gives_up_direct(IoEngine::Target target, int result) {
  if (!target.is_direct || result != -EINVAL) return false;
  LUNAR_LOG(kStore, 0, "{}: no direct IO on this file system: the page cache is used",
            options_.path);
  can_be_direct_ = false;
  return true;
}

void FileStore::continue_read(TransferRef op) {
  while (reads_cached_ && !op->into.empty() && !is_for_direct(op->offset, op->into)) {
    const ssize_t n = syscalls_.read(op->file->fd.get(), op->into, op->offset, RWF_NOWAIT);
    if (n == -EOPNOTSUPP) reads_cached_ = false;
    if (n < 0) break;
    if (n == 0) {
      std::ranges::fill(op->into, std::byte{});
      op->into = {};
    } else {
      op->into = op->into.subspan(static_cast<std::size_t>(n));
      op->offset += static_cast<uint64_t>(n);
    }
  }
  if (op->into.empty()) return finish(std::move(op->done), std::error_code{});
  read_in_engine(std::move(op));
}

void FileStore::read_in_engine(TransferRef op) {
  Transfer& transfer = *op;
  const auto target = target_of(*transfer.file, transfer.offset, transfer.into);
  io_->read(target, transfer.into, transfer.offset,
            [this, target, op = std::move(op)](int result) mutable {
              if (gives_up_direct(target, result)) return continue_read(std::move(op));
              if (result < 0) {
                return finish(std::move(op->done), to_store_error(as_error(result)));
              }
              if (result == 0) {  // the end of the file: the object reads on as zeroes
                std::ranges::fill(op->into, std::byte{});
                return finish(std::move(op->done), std::error_code{});
              }
              op->into = op->into.subspan(static_cast<std::size_t>(result));
              op->offset += static_cast<uint64_t>(result);
              continue_read(std::move(op));
            });
}

void FileStore::write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
                      DataDone done) {
  if (!admit(check(id, offset, from.size()), done)) return;
  auto op = std::make_unique<Transfer>();
  op->id = id;
  op->offset = offset;
  op->from = from;
  op->fua = fua;
  op->done = std::move(done);
  const ObjectId& name = op->id;
  with_file(name, true, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) return finish(std::move(op->done), to_store_error(file.error()));
    op->file = std::move(*file);
    if (!op->fua) flusher_->mark(op->file);
    continue_write(std::move(op));
  });
}

void FileStore::continue_write(TransferRef op) {
  while (!op->fua && !op->from.empty() && op->from.size() <= options_.loop_write_bytes &&
         !is_for_direct(op->offset, op->from)) {
    const ssize_t n = syscalls_.write(op->file->fd.get(), op->from, op->offset, 0);
    if (n <= 0) {
      const auto error = n < 0 ? as_error(n) : system_error(EIO);
      return finish(std::move(op->done), to_store_error(error));
    }
    op->from = op->from.subspan(static_cast<std::size_t>(n));
    op->offset += static_cast<uint64_t>(n);
  }
  if (op->from.empty()) return end_write(std::move(op));
  write_in_engine(std::move(op));
}

void FileStore::write_in_engine(TransferRef op) {
  Transfer& transfer = *op;
  const auto target = target_of(*transfer.file, transfer.offset, transfer.from);
  io_->write(target, transfer.from, transfer.offset, transfer.fua ? RWF_DSYNC : 0,
             [this, target, op = std::move(op)](int result) mutable {
               if (gives_up_direct(target, result)) return continue_write(std::move(op));
               if (result <= 0) {
                 return end_failed_write(std::move(op),
                                         result < 0 ? as_error(result) : system_error(EIO));
               }
               op->from = op->from.subspan(static_cast<std::size_t>(result));
               op->offset += static_cast<uint64_t>(result);
               continue_write(std::move(op));
             });
}

void FileStore::end_failed_write(TransferRef op, std::error_code error) {
  if (!op->fua) return finish(std::move(op->done), to_store_error(error));
  // RWF_DSYNC also reports, and so uses up, the error of an earlier write-back.
  if (to_store_error(error) != OsdErrc::kNoSpace) {
    return end_after_loss(error, op->id, std::move(op->done));
  }
  // No room for these bytes, or none for earlier ones on a thin volume? Without a sync it is the
  // first if it fails again.
  Transfer& transfer = *op;
  io_->write({transfer.file->fd.get()}, transfer.from, transfer.offset, 0,
             [this, error, op = std::move(op)](int result) mutable {
               if (result < 0) return finish(std::move(op->done), to_store_error(as_error(result)));
               end_after_loss(error, op->id, std::move(op->done));
             });
}

void FileStore::end_write(TransferRef op) {
  if (!op->fua) {
    flusher_->mark(op->file);  // again: a flush that ran meanwhile did not wait for these bytes
    return finish(std::move(op->done), std::error_code{});
  }
  if (!op->file->entry_is_dirty) return finish(std::move(op->done), std::error_code{});
  // FUA on a new object: its name must be durable too.
  Transfer& transfer = *op;
  pool_.run([this, folder = ObjectPath(transfer.id).folder] { return tree_.sync_folder(folder); },
            [this, op = std::move(op)](std::error_code error) mutable {
              if (error) return end_after_loss(error, op->id, std::move(op->done));
              op->file->entry_is_dirty = false;
              finish(std::move(op->done), std::error_code{});
            });
}

void FileStore::end_after_loss(std::error_code error, const ObjectId& id, DataDone done) {
  flusher_->remember_error(error);
  struct Ending {
    std::error_code error;
    DataDone done;
  };
  auto ending = std::make_unique<Ending>(Ending{error, std::move(done)});
  loss_.on_write_back_error(error, {id}, [this, ending = std::move(ending)] {
    finish(std::move(ending->done), to_store_error(ending->error));
  });
}

template <typename Change>
void FileStore::change_file(FileRef file, bool sync_after, Change change, DataDone done) {
  struct Outcomes {
    std::error_code change;
    std::error_code sync;
  };
  flusher_->mark(file);
  pool_.run(
      [this, file, sync_after, change = std::move(change)]() mutable -> Outcomes {
        const int fd = file->fd.get();
        Outcomes outcomes;
        outcomes.change = reserve_.use_for([&] { return change(fd); });
        if (!outcomes.change && sync_after) outcomes.sync = as_error(syscalls_.sync_data(fd));
        return outcomes;
      },
      [this, file, done = std::move(done)](Outcomes outcomes) mutable {
        flusher_->mark(file);
        if (outcomes.sync) return end_after_loss(outcomes.sync, file->id, std::move(done));
        finish(std::move(done), to_store_error(outcomes.change));
      });
}

void FileStore::zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua,
                     DataDone done) {
  if (!is_valid_object_id(id)) return (void)admit(OsdErrc::kInvalid, done);
  if (!admit({}, done)) return;
  struct Zero {
    uint64_t offset, length;
    bool fua;
    DataDone done;
  };
  auto op = std::make_unique<Zero>(Zero{offset, length, fua, std::move(done)});
  with_file(id, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      const auto error = to_store_error(file.error());
      return finish(std::move(op->done),
                    error == OsdErrc::kNoSuchObject ? std::error_code{} : error);
    }
    change_file(
        std::move(*file), op->fua,
        [this, offset = op->offset, length = op->length](int fd) {
          return punch(syscalls_, fd, offset, length);
        },
        std::move(op->done));
  });
}

void FileStore::truncate(const ObjectId& id, uint64_t size, StoreDone done) {
  if (!admit(check(id, size, 0), done)) return;
  auto boxed = std::make_unique<StoreDone>(std::move(done));
  with_file(id, true, [this, size, boxed = std::move(boxed)](Result<FileRef> file) mutable {
    if (!file) return finish(std::move(*boxed), to_store_error(file.error()));
    change_file(
        std::move(*file), false,
        [this, size](int fd) { return as_error(syscalls_.truncate(fd, size)); }, std::move(*boxed));
  });
}

void FileStore::stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) {
  if (!admit(check(id, 0, 0), done)) return;
  auto boxed = std::make_unique<UniqueFunction<void(Result<Stat>)>>(std::move(done));
  with_file(id, false, [this, boxed = std::move(boxed)](Result<FileRef> file) mutable {
    Result<Stat> result;
    struct stat status {};
    if (!file) {
      result = failure(to_store_error(file.error()));
    } else if (::fstat((*file)->fd.get(), &status) != 0) {
      result = failure(to_store_error(last_system_error()));
    } else {
      result = Stat{static_cast<uint64_t>(status.st_size),
                    static_cast<uint64_t>(status.st_blocks) * 512};
    }
    finish(std::move(*boxed), std::move(result));
  });
}

void FileStore::map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                            UniqueFunction<void(Result<ExtentMap>)> done) {
  if (!is_valid_object_id(id)) return (void)admit(OsdErrc::kInvalid, done);
  if (!admit({}, done)) return;
  struct Map {
    uint64_t offset, length;
    UniqueFunction<void(Result<ExtentMap>)> done;
  };
  offset = std::min(offset, kMaxObjectBytes);
  length = std::min(length, kMaxObjectBytes - offset);
  auto op = std::make_unique<Map>(Map{offset, length, std::move(done)});
  with_file(id, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      Result<ExtentMap> result;
      if (const auto error = to_store_error(file.error()); error != OsdErrc::kNoSuchObject) {
        result = failure(error);
      }
      return finish(std::move(op->done), std::move(result));
    }
    Map& map = *op;
    pool_.run([file = *file, &map] { return find_extents(file->fd.get(), map.offset, map.length); },
              [this, file = *file, op = std::move(op)](Result<ExtentMap> found) mutable {
                if (!found) found = failure(to_store_error(found.error()));
                finish(std::move(op->done), std::move(found));
              });
  });
}

}  // namespace lunar::osd
