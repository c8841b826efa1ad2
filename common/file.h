// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include "common/bytes.h"
#include "common/result.h"

namespace lunar {

// Owns a file descriptor and closes it. Move-only; not thread-safe.
class UniqueFd {
 public:
  // Empty.
  UniqueFd() noexcept = default;
  explicit UniqueFd(int fd) noexcept : fd_(fd) {}  // takes it; -1 is none
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  // Still owned here; -1 if there is none.
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  // Gives the descriptor away; the caller closes it. Empty afterwards.
  int release() noexcept { return std::exchange(fd_, -1); }
  // Closes what was held and takes `fd`. Keeps errno, so that it can stand on a path of errors.
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;  // -1: none
};

// The functions below block, and are called while something starts or from a thread that may wait.
// Their errors are sentences that begin with the path.

// The whole file as text. Errors: file_too_large above `limit` bytes, else the system's.
Outcome<std::string> read_file(const std::string& path, std::size_t limit);
// The same from where `fd` stands; `path` is for errors. A regular file is read into one
// allocation.
Outcome<std::string> read_open_file(int fd, const std::string& path, std::size_t limit);

// Replaces the file durably and atomically: a temporary beside it is written and synced, renamed
// over it, and the folder is synced. After a crash either the old or the new content is there.
// An existing file's mode is not kept: `mode` is.
Outcome<void> write_file_atomically(const std::string& path, ConstBytes content,
                                    mode_t mode = 0644);

// Makes the folder and its missing parents with `mode`. An existing folder is success, and is left
// as it is. Each new name is synced into its parent.
Outcome<void> make_directories(const std::string& path, mode_t mode = 0755);

// Syncs the folder itself, so that names made or removed in it survive a crash.
Outcome<void> sync_directory(const std::string& path);

// Writes all of it, through short writes and EINTR. `fd` blocks. After an error some of it may be
// there.
std::error_code write_all(int fd, ConstBytes content) noexcept;

// "/a/b" of "/a/b/c"; "." if there is no slash, "/" for the root. Looks at the text alone. Pure.
std::string parent_directory(std::string_view path);

// Starts the sentence that an Error about a file needs: "PATH: what: the system's text".
Error file_error(std::string_view path, std::string_view what, std::error_code code);

}  // namespace lunar
