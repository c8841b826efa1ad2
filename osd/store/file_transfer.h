// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "osd/object_data.h"
#include "osd/store/direct_io.h"
#include "osd/store/file_environment.h"

namespace lunar::osd {

// Reads and writes bytes of objects: ObjectData's read() and write() over files.
// What the page cache has is read at once on the loop, and small writes go straight into it
// (README.md has the numbers); what may have to wait goes to the engine. A transfer may take turns:
// it goes on where a short one ended. When the disk is full, only what is allocated is written.
// Loop-bound. Borrows its environment. The state of a transfer is one heap block, which
// its steps hand on.
class FileTransfer {
 public:
  // Writes of at most `loop_write_bytes` are made on the loop.
  FileTransfer(const FileEnvironment& environment, DirectIo direct, std::size_t loop_write_bytes)
      : env_(environment), direct_(std::move(direct)), loop_write_bytes_(loop_write_bytes) {}

  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done);
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua, DataDone done);

 private:
  struct Transfer;  // a read or a write in progress
  using TransferRef = std::unique_ptr<Transfer>;

  void continue_read(TransferRef op);
  void read_in_engine(TransferRef op);
  void begin_write(TransferRef op, FileRef file);
  void overwrite(const ObjectId& id, TransferRef op);
  void continue_write(TransferRef op);
  void write_in_engine(TransferRef op);
  void finish_write(TransferRef op);
  void finish_failed_fua(TransferRef op, std::error_code error);
  void finish_after_loss(TransferRef op, std::error_code error);
  void finish(TransferRef op, std::error_code system);

  const FileEnvironment env_;
  DirectIo direct_;
  const std::size_t loop_write_bytes_;
  bool can_read_cached_ = true;  // until the file system refuses RWF_NOWAIT
};

}  // namespace lunar::osd
