// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <cerrno>
#include <functional>
#include <list>
#include <string>

#include "msgr/event_center.h"
#include "msgr/posix/posix_stack.h"
#include "msgr/posix/socket.h"

namespace lunar::msgr {

// Somebody between a client and a server of TCP, who passes bytes on and may change them.
// Loop-bound.
class ByteRelay {
 public:
  ByteRelay(EventCenter& center, const Address& server) : center_(center), server_(server) {
    listening_ = std::move(*make_tcp_socket(Address::loopback(), {}));
    sockaddr_storage storage;
    const socklen_t length = Address::loopback().to_sockaddr(storage);
    EXPECT_EQ(::bind(listening_.get(), reinterpret_cast<sockaddr*>(&storage), length), 0);
    EXPECT_EQ(::listen(listening_.get(), 16), 0);
    watch_ = std::move(
        *center_.watch(listening_.get(), FdEvents::kRead, [this](FdEvents) { accept_one(); }));
  }
  Address address() const { return socket_local_address(listening_.get()); }

  // Bytes on their way to the server, or to the client.
  std::function<void(std::string&)> to_server;
  std::function<void(std::string&)> to_client;

 private:
  struct Side {
    UniqueFd fd;
    FdWatch watch;  // ends before the fd is closed
    std::string unsent;
  };
  struct Pair {
    Side client;
    Side server;
  };

  void accept_one() {
    UniqueFd fd(accept4(listening_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd) return;
    const auto pair = pairs_.emplace(pairs_.end());
    pair->client.fd = std::move(fd);
    pair->server.fd = std::move(*make_tcp_socket(server_, {}));
    sockaddr_storage storage;
    const socklen_t length = server_.to_sockaddr(storage);
    ::connect(pair->server.fd.get(), reinterpret_cast<sockaddr*>(&storage), length);
    watch(pair, pair->client, pair->server, to_server);
    watch(pair, pair->server, pair->client, to_client);
  }
  void watch(std::list<Pair>::iterator pair, Side& from, Side& to,
             std::function<void(std::string&)>& change) {
    from.watch = std::move(*center_.watch(
        from.fd.get(), FdEvents::kRead, [this, pair, &from, &to, &change](FdEvents events) {
          if (!move(from, to, has(events, FdEvents::kRead) || has(events, FdEvents::kHangUp),
                    change)) {
            pair->client.watch.set_events(FdEvents::kNone);
            pair->server.watch.set_events(FdEvents::kNone);
            ::shutdown(pair->client.fd.get(), SHUT_RDWR);
            ::shutdown(pair->server.fd.get(), SHUT_RDWR);
            ended_.splice(ended_.end(), pairs_, pair);
          }
        }));
  }
  // Whether both are still there. What one does not take at once is kept, however much it is.
  bool move(Side& from, Side& to, bool has_bytes, const std::function<void(std::string&)>& change) {
    if (!flush(from)) return false;
    if (!has_bytes) return true;
    std::string bytes(64u << 10, '\0');
    const ssize_t length = ::recv(from.fd.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (length == 0) return false;
    if (length < 0) return errno == EAGAIN || errno == ENOTCONN;
    bytes.resize(static_cast<std::size_t>(length));
    if (change) change(bytes);
    to.unsent += bytes;
    return flush(to);
  }
  bool flush(Side& to) {
    if (to.unsent.empty()) return true;
    const ssize_t sent =
        ::send(to.fd.get(), to.unsent.data(), to.unsent.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != ENOTCONN) return false;
    if (sent > 0) to.unsent.erase(0, static_cast<std::size_t>(sent));
    to.watch.set_events(to.unsent.empty() ? FdEvents::kRead : FdEvents::kRead | FdEvents::kWrite);
    return true;
  }

  EventCenter& center_;
  const Address server_;
  UniqueFd listening_;
  FdWatch watch_;
  std::list<Pair> pairs_;
  std::list<Pair> ended_;  // closed with the relay
};

}  // namespace lunar::msgr
