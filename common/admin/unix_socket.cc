// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/admin/unix_socket.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstring>

namespace lunar {
namespace {

Outcome<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return failure(std::errc::filename_too_long, path + ": the path of a unix socket has 1 to " +
                                                     std::to_string(sizeof address.sun_path - 1) +
                                                     " bytes; choose a shorter folder");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

UniqueFd new_socket() {
  return UniqueFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

bool bind_to(int fd, const sockaddr_un& address) {
  return ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

bool connect_to(int fd, const sockaddr_un& address) {
  return ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
}

// Removes the socket of a process that is gone. An error says why it is not that.
Outcome<void> remove_stale(const std::string& path, const sockaddr_un& address) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    if (errno == ENOENT) return {};
    return failure(file_error(path, "cannot look at it", last_system_error()));
  }
  if (!S_ISSOCK(status.st_mode)) {
    return failure(std::errc::address_in_use,
                   path + ": exists and is not a socket; move it away or choose another path");
  }
  const UniqueFd probe = new_socket();
  if (!probe) return failure(file_error(path, "cannot make a socket", last_system_error()));
  if (connect_to(probe.get(), address) || errno != ECONNREFUSED) {
    return failure(std::errc::address_in_use,
                   path + ": another program is listening there; stop it or choose another path");
  }
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) {
    return failure(file_error(path, "cannot remove a stale socket", last_system_error()));
  }
  return {};
}

}  // namespace

Outcome<UniqueFd> listen_unix(const std::string& path, mode_t mode) {
  constexpr int kBacklog = 16;
  const auto address = unix_address(path);
  if (!address) return failure(address.error());
  UniqueFd fd = new_socket();
  if (!fd) return failure(file_error(path, "cannot make a socket", last_system_error()));
  ::fchmod(fd.get(), mode);  // Linux: the file made by bind() has this mode, less the umask
  if (!bind_to(fd.get(), *address)) {
    const auto code = last_system_error();
    if (code != std::errc::address_in_use) {
      return failure(file_error(path, "cannot listen", code));
    }
    if (auto removed = remove_stale(path, *address); !removed) {
      return failure(removed.error());
    }
    if (!bind_to(fd.get(), *address)) {
      return failure(file_error(path, "cannot listen", last_system_error()));
    }
  }
  // It was created with less, by the umask, never with more. Others may write to the folder: what
  // they put in its place is not followed.
  if (::fchmodat(AT_FDCWD, path.c_str(), mode, AT_SYMLINK_NOFOLLOW) != 0)
    return failure(file_error(path, "cannot set the mode", last_system_error()));
  if (::listen(fd.get(), kBacklog) != 0) {
    return failure(file_error(path, "cannot listen", last_system_error()));
  }
  return fd;
}

Outcome<UniqueFd> connect_unix(const std::string& path, std::chrono::milliseconds timeout) {
  const auto address = unix_address(path);
  if (!address) return failure(address.error());
  // Blocking at first: with a full backlog a non-blocking connect() fails and cannot be polled for,
  // a blocking one waits its turn, as long as SO_SNDTIMEO says (unix(7), socket(7)).
  UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  const timeval limit{seconds.count(), std::chrono::microseconds(timeout - seconds).count()};
  if (!fd || ::setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) != 0 ||
      !connect_to(fd.get(), *address) || ::fcntl(fd.get(), F_SETFL, O_NONBLOCK) != 0) {
    const auto code = last_system_error();
    return failure(file_error(path, "cannot connect; is the program running?", code));
  }
  return fd;
}

bool wait_ready(int fd, short events, std::chrono::steady_clock::time_point deadline) noexcept {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd entry{fd, events, 0};
    const int ready = ::poll(&entry, 1, static_cast<int>(std::min<int64_t>(left.count(), INT_MAX)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

}  // namespace lunar
