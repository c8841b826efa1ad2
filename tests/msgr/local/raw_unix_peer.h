// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "common/file.h"
#include "msgr/local/key_table.h"
#include "msgr/local/sealed_memory.h"

namespace lunar::msgr::local {

// The other end of a local link, made by hand: it does with memory and descriptors what a link
// would not. Blocks.
class RawUnixPeer {
 public:
  static UniqueFd listen_at(const std::string& path) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un name = name_of(path);
    EXPECT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    EXPECT_EQ(listen(fd.get(), 1), 0);
    return fd;
  }
  static RawUnixPeer accept_from(const UniqueFd& listening) {
    return RawUnixPeer(UniqueFd(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  }
  static RawUnixPeer connect_to(const std::string& path) {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const sockaddr_un name = name_of(path);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
    return RawUnixPeer(std::move(fd));
  }

  // With one byte, or however many.
  void send(const std::vector<int>& fds, const std::string& bytes = "L") {
    EXPECT_EQ(try_send(fds, bytes), 0);
  }
  // 0, or the errno.
  int try_send(const std::vector<int>& fds, std::string bytes = "L") {
    iovec iov{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    std::vector<char> control(CMSG_SPACE(fds.size() * sizeof(int)));
    if (!fds.empty()) {
      message.msg_control = control.data();
      message.msg_controllen = control.size();
      cmsghdr* const header = CMSG_FIRSTHDR(&message);
      header->cmsg_level = SOL_SOCKET;
      header->cmsg_type = SCM_RIGHTS;
      header->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
      std::memcpy(CMSG_DATA(header), fds.data(), fds.size() * sizeof(int));
    }
    return sendmsg(fd_.get(), &message, MSG_NOSIGNAL) > 0 ? 0 : errno;
  }
  // Maps what comes with the next bytes.
  void receive() {
    std::array<char, 4096> bytes{};
    alignas(cmsghdr) std::array<char, 512> control{};
    iovec iov{bytes.data(), bytes.size()};
    msghdr message{};
    message.msg_iov = &iov;
    message.msg_iovlen = 1;
    message.msg_control = control.data();
    message.msg_controllen = control.size();
    ASSERT_GT(recvmsg(fd_.get(), &message, 0), 0);
    for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
         header = CMSG_NXTHDR(&message, header)) {
      for (std::size_t at = CMSG_LEN(0); at < header->cmsg_len; at += sizeof(int)) {
        int fd;
        std::memcpy(&fd, reinterpret_cast<const char*>(header) + at, sizeof fd);
        auto mapped = SharedMapping::map(UniqueFd(fd), 16u << 20);
        ASSERT_TRUE(mapped) << mapped.error().message();
        memory_.push_back(std::move(*mapped));
      }
    }
  }
  // What came, in order: the table, then regions.
  Bytes memory(std::size_t number) const { return memory_.at(number)->bytes(); }
  KeyTable table() const { return KeyTable(memory(0)); }
  std::byte* place_of(const RemoteKey& key) const {
    uint32_t region = 0, offset = 0;
    (void)KeyName::decode(key, region, offset);
    return memory(region).data() + offset;
  }
  // Whether the other end has closed the link; waits for that or for bytes.
  bool is_closed() {
    char byte;
    const ssize_t got = recv(fd_.get(), &byte, 1, 0);
    return got <= 0;
  }
  void close() { fd_.reset(); }

 private:
  explicit RawUnixPeer(UniqueFd fd) : fd_(std::move(fd)) { EXPECT_TRUE(fd_); }
  static sockaddr_un name_of(const std::string& path) {
    sockaddr_un name{};
    name.sun_family = AF_UNIX;
    std::strncpy(name.sun_path, path.c_str(), sizeof name.sun_path - 1);
    return name;
  }
  UniqueFd fd_;
  std::vector<std::unique_ptr<SharedMapping>> memory_;
};

inline KeyName name_of(const RemoteKey& key) {
  uint32_t region = 0, offset = 0;
  return KeyName::decode(key, region, offset);
}

}  // namespace lunar::msgr::local
