// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/posix/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

namespace lunar::msgr {
namespace {

StreamResult to_result(ssize_t moved) noexcept {
  StreamResult result;
  if (moved >= 0) {
    result.bytes = static_cast<std::size_t>(moved);
  } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
    result.would_block = true;
  } else {
    result.error = last_system_error();
  }
  return result;
}

std::error_code set_int(int fd, int level, int name, int value) noexcept {
  if (setsockopt(fd, level, name, &value, sizeof value) == 0) return {};
  return last_system_error();
}

}  // namespace

// sendmsg and not writev: only it can be told to raise no SIGPIPE.
StreamResult send_message(int fd, const msghdr& message) noexcept {
  ssize_t moved;
  do {
    moved = sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  } while (moved < 0 && errno == EINTR);
  return to_result(moved);
}

StreamResult receive_message(int fd, msghdr& message) noexcept {
  ssize_t moved;
  do {
    moved = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (moved < 0 && errno == EINTR);
  StreamResult result = to_result(moved);
  result.has_ended = moved == 0;
  return result;
}

msghdr to_message(std::span<const iovec> iovecs) noexcept {
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(iovecs.data());
  message.msg_iovlen = iovecs.size();
  return message;
}

StreamResult SocketStream::send(std::span<const iovec> iovecs) {
  return send_message(fd(), to_message(iovecs));
}

StreamResult SocketStream::receive(std::span<const iovec> iovecs) {
  msghdr message = to_message(iovecs);
  return receive_message(fd(), message);
}

std::error_code SocketStream::start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) {
  watch_ = FdWatch();  // an fd is watched once
  auto watch = center_.watch(fd_.get(), events, std::move(on_ready));
  if (!watch) return watch.error();
  watch_ = std::move(*watch);
  return {};
}

Result<UniqueFd> make_tcp_socket(const Address& address, const PosixStackOptions& options) {
  const int family = address.is_ipv6() ? AF_INET6 : AF_INET;
  UniqueFd fd(socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP));
  if (!fd) return failure(last_system_error());
  if (options.tcp_rcvbuf != 0) {  // before connect() or listen(): it sets the window's scale
    const auto error =
        set_int(fd.get(), SOL_SOCKET, SO_RCVBUF, static_cast<int>(options.tcp_rcvbuf));
    if (error) return failure(error);
  }
  if (const auto error = set_stream_options(fd.get(), options)) return failure(error);
  return fd;
}

std::error_code set_stream_options(int fd, const PosixStackOptions& options) {
  if (options.tcp_nodelay) {
    if (const auto error = set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1)) return error;
  }
  const std::string& congestion = options.tcp_congestion;
  if (!congestion.empty() && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, congestion.data(),
                                        static_cast<socklen_t>(congestion.size())) < 0) {
    return last_system_error();
  }
  return {};
}

std::error_code take_socket_error(int fd) noexcept {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return last_system_error();
  return error == 0 ? std::error_code() : system_error(error);
}

Address socket_local_address(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  return getsockname(fd, address, &length) == 0 ? Address::from_sockaddr(address) : Address();
}

Address socket_peer_address(int fd) noexcept {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  auto* address = reinterpret_cast<sockaddr*>(&storage);
  return getpeername(fd, address, &length) == 0 ? Address::from_sockaddr(address) : Address();
}

std::unique_ptr<ByteStream> make_socket_stream(EventCenter& center, UniqueFd fd) {
  return std::make_unique<SocketStream>(center, std::move(fd));
}

}  // namespace lunar::msgr
