// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>

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

// A connected socket as a stream. Loop-bound. Owns the socket.
std::unique_ptr<ByteStream> make_socket_stream(EventCenter& center, UniqueFd fd);

}  // namespace lunar::msgr
