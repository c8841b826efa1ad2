// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>

namespace lunar {
namespace {

// Removes a temporary file unless it became the real one.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& target) : path_(target + ".tmp-XXXXXX") {
    fd_.reset(::mkostemp(path_.data(), O_CLOEXEC));  // mode 0600
  }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (fd_) ::unlink(path_.c_str());
  }

  int fd() const { return fd_.get(); }
  const std::string& path() const { return path_; }
  void keep() { fd_.reset(); }

 private:
  std::string path_;
  UniqueFd fd_;
};

tl::unexpected<Error> last_file_error(std::string_view path, std::string_view what) {
  return failure(file_error(path, what, last_system_error()));
}

}  // namespace

void UniqueFd::reset(int fd) noexcept {
  const int old = std::exchange(fd_, fd);
  if (old < 0) return;
  const int saved = errno;
  ::close(old);  // Linux closes even when it reports EINTR: never retried
  errno = saved;
}

Error file_error(std::string_view path, std::string_view what, std::error_code code) {
  return {code, std::string(path) + ": " + std::string(what) + ": " + code.message()};
}

Outcome<std::string> read_file(const std::string& path, std::size_t limit) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd) return last_file_error(path, "cannot open");
  return read_open_file(fd.get(), path, limit);
}

Outcome<std::string> read_open_file(int fd, const std::string& path, std::size_t limit) {
  constexpr std::size_t kStep = 64 * 1024;
  limit = std::min(limit, std::numeric_limits<std::size_t>::max() - 1);  // for the byte more, below
  struct stat status {};
  if (::fstat(fd, &status) != 0) return last_file_error(path, "cannot look at it");
  const bool sized = S_ISREG(status.st_mode) && status.st_size > 0;
  const auto expected = sized ? static_cast<std::size_t>(status.st_size) : kStep;
  // One byte more than allowed is enough to see that it is too long.
  std::string content(std::min(expected, limit) + 1, '\0');
  std::size_t used = 0;
  for (;;) {
    if (used > limit) {
      return failure(std::errc::file_too_large,
                     path + ": longer than the " + std::to_string(limit) + " bytes allowed here");
    }
    if (used == content.size()) content.resize(std::min(used + kStep, limit + 1));
    const ssize_t got = ::read(fd, content.data() + used, content.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return last_file_error(path, "cannot read");
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  content.resize(used);
  return content;
}

std::error_code write_all(int fd, ConstBytes content) noexcept {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return last_system_error();
    content = content.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Outcome<void> write_file_atomically(const std::string& path, ConstBytes content, mode_t mode) {
  TemporaryFile file(path);
  if (file.fd() < 0) return last_file_error(path, "cannot create a temporary file beside it");
  if (const auto error = write_all(file.fd(), content)) {
    return failure(file_error(path, "cannot write", error));
  }
  if (::fchmod(file.fd(), mode) != 0) return last_file_error(path, "cannot set its mode");
  if (::fsync(file.fd()) != 0) return last_file_error(path, "cannot sync");
  if (::rename(file.path().c_str(), path.c_str()) != 0)
    return last_file_error(path, "cannot replace");
  file.keep();
  return sync_directory(parent_directory(path));
}

Outcome<void> sync_directory(const std::string& path) {
  const UniqueFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return last_file_error(path, "cannot open the folder");
  if (::fsync(fd.get()) != 0) return last_file_error(path, "cannot sync the folder");
  return {};
}

Outcome<void> make_directories(const std::string& path, mode_t mode) {
  if (path.empty()) return failure(std::errc::invalid_argument, "the name of a folder is empty");
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return {};
    return failure(std::errc::not_a_directory, path + ": exists and is not a folder");
  }
  const std::string parent = parent_directory(path);
  if (parent != path) {
    if (auto made = make_directories(parent, mode); !made) return made;
  }
  if (::mkdir(path.c_str(), mode) != 0) {
    if (errno == EEXIST) return {};  // someone else was quicker
    return last_file_error(path, "cannot make the folder");
  }
  return sync_directory(parent);
}

std::string parent_directory(std::string_view path) {
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return ".";
  path = path.substr(0, slash);
  while (path.size() > 1 && path.back() == '/') path.remove_suffix(1);
  return path.empty() ? "/" : std::string(path);
}

}  // namespace lunar
