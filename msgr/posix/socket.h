// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/socket.h>

#include <memory>
#include <span>
#include <system_error>
#include <utility>

#include "common/file.h"
#include "common/result.h"
#include "msgr/address.h"
#include "msgr/event_center.h"
#include "msgr/net/byte_stream.h"
#include "msgr/posix/posix_stack.h"

namespace lunar::msgr {

// A non-blocking TCP socket of the address's family, with what the options ask for.
Result<UniqueFd> make_tcp_socket(const Address& address, const PosixStackOptions& options);
// For an accepted socket: what it does not inherit from its listener.
std::error_code set_stream_options(int fd, const PosixStackOptions& options);
// SO_ERROR, which it clears.
std::error_code take_socket_error(int fd) noexcept;
Address socket_local_address(int fd) noexcept;
Address socket_peer_address(int fd) noexcept;

// sendmsg() and recvmsg() that do not wait and raise no signal. Descriptors that come along are
// closed in programs that are started.
msghdr to_message(std::span<const iovec> iovecs) noexcept;
StreamResult send_message(int fd, const msghdr& message) noexcept;
StreamResult receive_message(int fd, msghdr& message) noexcept;

// A connected socket as a stream. Loop-bound. Owns the socket.
class SocketStream : public ByteStream {
 public:
  SocketStream(EventCenter& center, UniqueFd fd) noexcept : center_(center), fd_(std::move(fd)) {}

  StreamResult send(std::span<const iovec> iovecs) override;
  StreamResult receive(std::span<const iovec> iovecs) override;
  std::error_code start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) override;
  void set_events(FdEvents events) override { watch_.set_events(events); }
  std::error_code take_error() noexcept override { return take_socket_error(fd_.get()); }
  Address local_address() const override { return socket_local_address(fd_.get()); }
  Address peer_address() const override { return socket_peer_address(fd_.get()); }

 protected:
  int fd() const noexcept { return fd_.get(); }

 private:
  EventCenter& center_;
  UniqueFd fd_;
  FdWatch watch_;  // ends before the socket is closed
};

std::unique_ptr<ByteStream> make_socket_stream(EventCenter& center, UniqueFd fd);

}  // namespace lunar::msgr
