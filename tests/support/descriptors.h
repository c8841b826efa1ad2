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

// Descriptors of this process of the kinds that loops and transports of ours open: "TCP or UDP
// socket", "anon_inode:[eventpoll]", "/dev/infiniband/uverbs0", with how many there are of each.
//
// The process belongs to others too: lttng-ust registers with a session daemon from threads of its
// own, whenever one starts, and opens Unix sockets, pipes, shared memory and files for it. So a
// kind counts only if it is named here. What is opened or closed while this looks is left out.
inline std::map<std::string, int> own_descriptors() {
  std::map<std::string, int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code gone;
    const std::string what = std::filesystem::read_symlink(entry, gone).string();
    if (gone) continue;
    if (what.starts_with("socket:")) {
      int domain = 0;
      socklen_t length = sizeof domain;
      const int fd = std::atoi(entry.path().filename().c_str());
      if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 && domain != AF_UNIX)
        ++found["socket, but no Unix socket"];
      continue;
    }
    const bool is_ours = what.starts_with("anon_inode:") || what.starts_with("/dev/infiniband/");
    if (is_ours && what != "anon_inode:[perf_event]") ++found[what];
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
