// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/socket.h>

#include <cstddef>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <string>
#include <system_error>

namespace lunar::test {

// Descriptors of this process that code of ours may have opened, by what they are: "TCP or UDP
// socket", "anon_inode:[eventpoll]", "/dev/infiniband/uverbs0", with how many there are of each.
//
// The process belongs to others too: lttng-ust registers with a session daemon from threads of its
// own, whenever one starts, and opens Unix sockets, pipes and shared memory for it. No test counts
// those, and none of the transports uses any. What is opened or closed while this looks is left
// out.
inline std::map<std::string, int> own_descriptors() {
  std::map<std::string, int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    std::string what = std::filesystem::read_symlink(entry, gone).string();
    if (gone) continue;
    if (what.rfind("socket:", 0) == 0) {
      int domain = 0;
      socklen_t length = sizeof domain;
      const int fd = std::atoi(entry.path().filename().c_str());
      if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) != 0 || domain == AF_UNIX) {
        continue;
      }
      what = domain == AF_INET || domain == AF_INET6 ? "TCP or UDP socket" : "other socket";
    }
    const bool is_of_lttng = what.rfind("pipe:", 0) == 0 || what.rfind("/memfd:", 0) == 0 ||
                             what.rfind("/dev/shm/", 0) == 0 || what.rfind("/proc/", 0) == 0;
    if (!is_of_lttng) ++found[what];
  }
  return found;
}

// How many there are of all kinds.
inline int own_descriptor_count() {
  int count = 0;
  for (const auto& [what, number] : own_descriptors()) count += number;
  return count;
}

}  // namespace lunar::test
