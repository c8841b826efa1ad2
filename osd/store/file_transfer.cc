// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/file_transfer.h"

#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "osd/store/object_limits.h"
#include "osd/store/store_error.h"

namespace lunar::osd {

using objecter::OsdErrc;

struct FileTransfer::Transfer {
  uint64_t offset = 0;  // of what is left
  Bytes into;           // a read: what is left
  ConstBytes from;      // a write: what is left
  bool fua = false;
  uint64_t claimed = 0;  // a write: of DataSpace
  // A write: bytes of it may be in the file, though it fails.
  bool may_have_written = false;
  FileRef file;  // set once it is open
  DataDone done;
};

namespace {

// Whether all of the range has space already.
Result<bool> is_allocated(Syscalls& syscalls, int fd, uint64_t offset, uint64_t length) {
  const int64_t hole = syscalls.seek(fd, offset, SEEK_HOLE);
  if (hole == -ENXIO) return false;  // beyond the end
  if (hole < 0) return failure(error_in(hole));
  return static_cast<uint64_t>(hole) >= offset + length;
}

// ObjectData::write(): by the number of the system that something may have changed.
std::error_code error_after_begin(std::error_code system) {
  const std::error_code known = to_store_error(system);
  return known == OsdErrc::kNoSpace || known == OsdErrc::kBusy ? system : known;
}

}  // namespace

void FileTransfer::finish(TransferRef op, std::error_code system) {
  if (op->claimed > 0) env_.space.release(op->claimed);
  // What `done` begins may have to be the only user of the file: FileNames::remove().
  op->file.reset();
  const std::error_code error =
      op->may_have_written ? error_after_begin(system) : to_store_error(system);
  env_.calls.finish(std::move(op), error);
}

void FileTransfer::read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) {
  auto op = std::make_unique<Transfer>();
  op->offset = offset;
  op->into = into;
  op->done = std::move(done);
  if (!env_.calls.admit(check_range(id, offset, into.size()), op)) return;
  env_.files.open(id, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      std::ranges::fill(op->into, std::byte{});
      return finish(std::move(op), file.error());
    }
    op->file = std::move(*file);
    continue_read(std::move(op));
  });
}

void FileTransfer::continue_read(TransferRef op) {
  Syscalls& syscalls = env_.tree.syscalls();
  while (can_read_cached_ && !op->into.empty() && !direct_.wants(op->offset, op->into)) {
    const ssize_t n = syscalls.read(op->file->fd.get(), op->into, op->offset, RWF_NOWAIT);
    if (n == -EOPNOTSUPP) can_read_cached_ = false;
    if (n < 0) break;
    if (n == 0) {
      std::ranges::fill(op->into, std::byte{});
      op->into = {};
    } else {
      op->into = op->into.subspan(static_cast<std::size_t>(n));
      op->offset += static_cast<uint64_t>(n);
    }
  }
  if (op->into.empty()) return finish(std::move(op), {});
  read_in_engine(std::move(op));
}

void FileTransfer::read_in_engine(TransferRef op) {
  Transfer& transfer = *op;
  const IoFile used = direct_.choose(*transfer.file, transfer.offset, transfer.into);
  env_.engine.read(used, transfer.into, transfer.offset,
                   [this, used, op = std::move(op)](int result) mutable {
                     if (direct_.must_repeat(used, result)) {
                       return continue_read(std::move(op));
                     }
                     if (result < 0) return finish(std::move(op), error_in(result));
                     if (result == 0) {  // the end of the file: the object reads on as zeroes
                       std::ranges::fill(op->into, std::byte{});
                       return finish(std::move(op), {});
                     }
                     op->into = op->into.subspan(static_cast<std::size_t>(result));
                     op->offset += static_cast<uint64_t>(result);
                     continue_read(std::move(op));
                   });
}

void FileTransfer::write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
                         DataDone done) {
  auto op = std::make_unique<Transfer>();
  op->offset = offset;
  op->from = from;
  op->fua = fua;
  op->done = std::move(done);
  if (!env_.calls.admit(check_range(id, offset, from.size()), op)) return;
  if (!from.empty() && !env_.space.claim(from.size())) return overwrite(id, std::move(op));
  op->claimed = from.size();
  env_.files.open(id, true, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) return finish(std::move(op), file.error());
    begin_write(std::move(op), std::move(*file));
  });
}

void FileTransfer::overwrite(const ObjectId& id, TransferRef op) {
  env_.files.open(id, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      const bool is_absent = file.error() == system_error(ENOENT);
      return finish(std::move(op), is_absent ? system_error(ENOSPC) : file.error());
    }
    const uint64_t offset = op->offset;  // before op moves: arguments have no order
    const uint64_t length = op->from.size();
    env_.pool.run(
        [this, file = *file, offset, length] {
          return is_allocated(env_.tree.syscalls(), file->fd.get(), offset, length);
        },
        [this, file = *file, op = std::move(op)](Result<bool> allocated) mutable {
          if (!allocated) return finish(std::move(op), allocated.error());
          if (!*allocated) return finish(std::move(op), system_error(ENOSPC));
          begin_write(std::move(op), std::move(file));
        });
  });
}

void FileTransfer::begin_write(TransferRef op, FileRef file) {
  op->file = std::move(file);
  op->may_have_written = op->fua;  // one that could not be synced says not how much it wrote
  if (!op->fua) env_.flusher.mark(op->file);
  continue_write(std::move(op));
}

void FileTransfer::continue_write(TransferRef op) {
  Syscalls& syscalls = env_.tree.syscalls();
  while (!op->fua && !op->from.empty() && op->from.size() <= loop_write_bytes_ &&
         !direct_.wants(op->offset, op->from)) {
    const ssize_t n = syscalls.write(op->file->fd.get(), op->from, op->offset, 0);
    if (n <= 0) return finish(std::move(op), n < 0 ? error_in(n) : system_error(EIO));
    op->may_have_written = true;
    op->from = op->from.subspan(static_cast<std::size_t>(n));
    op->offset += static_cast<uint64_t>(n);
  }
  if (op->from.empty()) return finish_write(std::move(op));
  write_in_engine(std::move(op));
}

void FileTransfer::write_in_engine(TransferRef op) {
  Transfer& transfer = *op;
  const IoFile used = direct_.choose(*transfer.file, transfer.offset, transfer.from);
  env_.engine.write(used, transfer.from, transfer.offset, transfer.fua ? RWF_DSYNC : 0,
                    [this, used, op = std::move(op)](int result) mutable {
                      if (direct_.must_repeat(used, result)) {
                        return continue_write(std::move(op));
                      }
                      if (result <= 0) {
                        const auto error = result < 0 ? error_in(result) : system_error(EIO);
                        // Direct IO says nothing of a part that it has written.
                        op->may_have_written |= used.is_direct;
                        if (op->fua) return finish_failed_fua(std::move(op), error);
                        return finish(std::move(op), error);
                      }
                      op->may_have_written = true;
                      op->from = op->from.subspan(static_cast<std::size_t>(result));
                      op->offset += static_cast<uint64_t>(result);
                      continue_write(std::move(op));
                    });
}

void FileTransfer::finish_write(TransferRef op) {
  if (!op->fua) {
    // Again: a flush that ran meanwhile did not wait for these bytes.
    env_.flusher.mark(op->file);
    return finish(std::move(op), {});
  }
  if (!op->file->is_entry_dirty && !env_.flusher.is_behind(op->file->id)) {
    return finish(std::move(op), {});
  }
  // FUA on a new object: its name must be durable too.
  const ObjectFile& file = *op->file;
  env_.pool.run(
      [this, folder = ObjectPath(file.id).folder] { return env_.tree.sync_folder(folder); },
      [this, op = std::move(op)](StoreTree::FolderSync synced) mutable {
        if (synced.sync) return finish_after_loss(std::move(op), synced.sync);
        if (!synced.open) op->file->is_entry_dirty = false;
        finish(std::move(op), synced.open);
      });
}

void FileTransfer::finish_failed_fua(TransferRef op, std::error_code error) {
  // RWF_DSYNC also reports, and so uses up, the error of an earlier write-back.
  if (to_store_error(error) != OsdErrc::kNoSpace) return finish_after_loss(std::move(op), error);
  // Either there is no room for these bytes, or a thin volume had none for earlier ones. Written
  // again without the sync, it fails again in the first case only.
  Transfer& transfer = *op;
  env_.engine.write({transfer.file->fd.get()}, transfer.from, transfer.offset, 0,
                    [this, error, op = std::move(op)](int result) mutable {
                      if (result < 0) return finish(std::move(op), error_in(result));
                      finish_after_loss(std::move(op), error);
                    });
}

// The object may have lost more than the bytes of this call, and what was written of them is not
// synced.
void FileTransfer::finish_after_loss(TransferRef op, std::error_code error) {
  const ObjectId& id = op->file->id;
  env_.flusher.mark(op->file);
  env_.flusher.on_failed_sync(
      error, id, [this, error, op = std::move(op)]() mutable { finish(std::move(op), error); });
}

}  // namespace lunar::osd
