// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>

#include "common/file.h"
#include "common/result.h"

namespace lunar::tools {

// What an export writes to. A file has its name only when it is whole: until commit() it is
// "NAME.partial-…" beside it, and is removed with the object. Standard output, pipes and disks are
// written where they are. Move-only; not thread-safe; blocks.
class ExportTarget {
 public:
  // `path` is a file to make, a pipe or disk that is there, or "-". `bytes` of the image must fit
  // on a disk. file_exists for a file or disk that is there, unless `may_overwrite`: nothing is
  // changed then.
  static Outcome<ExportTarget> open(const std::string& path, uint64_t bytes, bool may_overwrite);
  ExportTarget(ExportTarget&&) noexcept = default;
  ExportTarget& operator=(ExportTarget&&) = delete;
  ~ExportTarget();

  int fd() const noexcept { return file_ ? file_.get() : own_fd_; }
  // It is new: what is not written reads as zeroes, and any order will do.
  bool is_new_file() const noexcept { return !partial_.empty(); }
  // All is written: makes it durable, and gives a file its name. Still file_exists if a file of
  // that name was made meanwhile.
  Outcome<void> commit();

 private:
  ExportTarget(std::string path, bool may_overwrite)
      : path_(std::move(path)), may_overwrite_(may_overwrite) {}
  Outcome<void> open_partial(mode_t mode);
  Outcome<void> open_in_place(const struct stat& there, uint64_t bytes);
  std::error_code take_name();

  std::string path_;
  std::string partial_;  // the file until commit(); empty for what is written in place
  bool may_overwrite_;
  bool is_disk_ = false;
  UniqueFd file_;
  int own_fd_ = -1;  // standard output, which stays open; -1 if there is a file_
};

}  // namespace lunar::tools
