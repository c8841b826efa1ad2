// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/export_target.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "common/random.h"

namespace lunar::tools {
namespace {

std::string hex_of(uint64_t value) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

auto is_there(const std::string& path, const char* what) {
  return failure(std::errc::file_exists, path + " " + what);
}

}  // namespace

Outcome<ExportTarget> ExportTarget::open(const std::string& path, uint64_t bytes,
                                         bool may_overwrite) {
  ExportTarget target(path, may_overwrite);
  if (path == "-") {
    target.own_fd_ = STDOUT_FILENO;
    return target;
  }
  struct stat there {};
  if (::stat(path.c_str(), &there) != 0) {
    if (errno != ENOENT) return failure(file_error(path, "looking at it", last_system_error()));
    if (auto made = target.open_partial(0644); !made) return failure(made.error());
    return target;
  }
  if (S_ISDIR(there.st_mode)) return is_there(path, "is a folder: name a file in it");
  if (!S_ISREG(there.st_mode)) {
    if (auto opened = target.open_in_place(there, bytes); !opened) return failure(opened.error());
    return target;
  }
  if (!may_overwrite) {
    return is_there(path, "exists: name another file, or add --overwrite to replace it");
  }
  std::error_code unresolved;  // the file is replaced, not the link that leads to it
  const std::filesystem::path real = std::filesystem::canonical(path, unresolved);
  if (!unresolved) target.path_ = real.string();
  if (auto made = target.open_partial(there.st_mode & 0777); !made) return failure(made.error());
  return target;
}

ExportTarget::~ExportTarget() {
  if (!partial_.empty() && file_) unlink(partial_.c_str());
}

Outcome<void> ExportTarget::open_partial(mode_t mode) {
  partial_ = path_ + ".partial-" + hex_of(random_u64());
  file_.reset(::open(partial_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
  if (file_) return {};
  return failure(file_error(path_, "making", last_system_error()));
}

// A disk has other data, which the image's zeroes have to replace as well.
Outcome<void> ExportTarget::open_in_place(const struct stat& there, uint64_t bytes) {
  is_disk_ = S_ISBLK(there.st_mode);
  if (is_disk_ && !may_overwrite_) {
    return is_there(path_, "is a disk: add --overwrite if what is on it may be destroyed");
  }
  const int exclusive = is_disk_ ? O_EXCL : 0;  // refused while it is mounted: open(2)
  file_.reset(::open(path_.c_str(), O_WRONLY | O_CLOEXEC | exclusive));
  if (!file_) return failure(file_error(path_, "opening", last_system_error()));
  if (!is_disk_) return {};
  const off_t end = lseek(file_.get(), 0, SEEK_END);
  if (end < 0 || lseek(file_.get(), 0, SEEK_SET) != 0) {
    return failure(file_error(path_, "looking at its size", last_system_error()));
  }
  if (static_cast<uint64_t>(end) >= bytes) return {};
  return failure(std::errc::no_space_on_device,
                 path_ + " has " + std::to_string(end) + " bytes, and the image " +
                     std::to_string(bytes) + ": name a disk that is large enough");
}

std::error_code ExportTarget::take_name() {
  const char* from = partial_.c_str();
  const char* to = path_.c_str();
  if (may_overwrite_) {
    return rename(from, to) == 0 ? std::error_code() : last_system_error();
  }
  if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return {};
  if (errno != EINVAL && errno != ENOSYS) return last_system_error();
  if (link(from, to) != 0) return last_system_error();  // a file system that has no such flag
  unlink(from);
  return {};
}

Outcome<void> ExportTarget::commit() {
  if ((is_new_file() || is_disk_) && fsync(file_.get()) != 0) {
    return failure(file_error(path_, "syncing", last_system_error()));
  }
  if (!is_new_file()) return {};
  if (const std::error_code error = take_name()) {
    if (error == std::errc::file_exists) {
      return is_there(path_, "was made by somebody else meanwhile, and is left as it is");
    }
    return failure(file_error(path_, "giving the finished file its name", error));
  }
  partial_.clear();
  return sync_directory(parent_directory(path_));
}

}  // namespace lunar::tools
