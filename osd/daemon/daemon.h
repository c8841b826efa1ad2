// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>

#include "common/file.h"
#include "common/result.h"

namespace lunar::osd {

// Goes into the background, if asked to, in a way that tells the caller how the start went: the
// process that was called waits until the one that stays says so.
// Not thread-safe: made before any thread. The parent never leaves become_daemon().
class Daemon {
 public:
  // Forks. Returns in the child only.
  static Outcome<Daemon> become_daemon();
  Daemon() noexcept = default;  // stays in the foreground

  // The start succeeded: the parent exits with 0, and this process lets go of the terminal.
  void started();
  // It failed: the parent exits with this status. The text went to stderr already.
  void failed(int status);

 private:
  void tell(int status);
  UniqueFd parent_;
};

// A file with our process id, removed by the destructor. Empty path: none.
class PidFile {
 public:
  static Outcome<PidFile> create(const std::string& path);
  PidFile() noexcept = default;
  PidFile(PidFile&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  PidFile& operator=(PidFile&& other) noexcept {
    std::swap(path_, other.path_);
    return *this;
  }
  ~PidFile();

 private:
  std::string path_;
};

}  // namespace lunar::osd
