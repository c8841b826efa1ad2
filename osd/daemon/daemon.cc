// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/daemon/daemon.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace lunar::osd {

Outcome<Daemon> Daemon::become_daemon() {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    const auto error = last_system_error();
    return failure(error, "cannot make a pipe: " + error.message());
  }
  UniqueFd reading(ends[0]);
  UniqueFd writing(ends[1]);
  const pid_t child = ::fork();
  if (child < 0) {
    const auto error = last_system_error();
    return failure(error, "cannot fork: " + error.message());
  }
  if (child == 0) {
    ::setsid();
    Daemon daemon;
    daemon.parent_ = std::move(writing);
    return daemon;
  }
  writing.reset();
  unsigned char status = 0;
  ssize_t got = 0;
  do got = ::read(reading.get(), &status, 1);
  while (got < 0 && errno == EINTR);
  if (got == 1) ::_exit(status);
  // It ended without a word; its own status says how.
  int how = 0;
  ::waitpid(child, &how, 0);
  ::_exit(WIFEXITED(how) && WEXITSTATUS(how) != 0 ? WEXITSTATUS(how) : 1);
}

void Daemon::tell(int status) {
  if (!parent_) return;
  const auto byte = static_cast<std::byte>(status);
  const auto ignored = write_all(parent_.get(), {&byte, 1});  // the parent may have been killed
  (void)ignored;
  parent_.reset();
}

void Daemon::started() {
  if (!parent_) return;
  const UniqueFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (null)
    for (int fd = 0; fd <= 2; ++fd) ::dup2(null.get(), fd);
  tell(0);
}

void Daemon::failed(int status) { tell(status); }

Outcome<PidFile> PidFile::create(const std::string& path) {
  PidFile file;
  if (path.empty()) return file;
  const std::string text = std::to_string(::getpid()) + "\n";
  if (const auto written = write_file_atomically(path, as_const_bytes(text)); !written)
    return failure(written.error().code, "pid_file: " + written.error().message);
  file.path_ = path;
  return file;
}

PidFile::~PidFile() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

}  // namespace lunar::osd
