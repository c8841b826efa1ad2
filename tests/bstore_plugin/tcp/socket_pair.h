// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

namespace lunar::bstore_plugin::test {

// A connected pair of stream sockets: ours, which never blocks, and the initiator's.
class SocketPair {
 public:
  SocketPair() { EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_), 0); }
  ~SocketPair() {
    close(ends_[0]);
    close_peer();
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;

  int fd() const { return ends_[0]; }
  void close_peer() {
    if (ends_[1] >= 0) close(ends_[1]);
    ends_[1] = -1;
  }
  // REQUIRES: there is room for it.
  void peer_sends(const std::string& bytes) {
    EXPECT_EQ(send(ends_[1], bytes.data(), bytes.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(bytes.size()));
  }
  // What has arrived at the peer by now.
  std::string peer_receives(std::size_t most = SIZE_MAX) {
    std::string all;
    char some[65536];
    while (all.size() < most) {
      const ssize_t got = recv(ends_[1], some, std::min(sizeof some, most - all.size()), 0);
      if (got <= 0) break;
      all.append(some, static_cast<std::size_t>(got));
    }
    return all;
  }

 private:
  int ends_[2] = {-1, -1};
};

}  // namespace lunar::bstore_plugin::test
