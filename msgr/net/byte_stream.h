// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <span>
#include <system_error>

#include "common/inline_function.h"
#include "msgr/address.h"
#include "msgr/event_center.h"

namespace lunar::msgr {

// What one attempt to send or receive came to.
struct StreamResult {
  std::size_t bytes = 0;
  bool would_block = false;  // nothing moved; readiness will be told
  bool has_ended = false;    // receive(): the peer sends no more
  std::error_code error;     // the stream is broken

  static StreamResult blocked() noexcept {
    StreamResult result;
    result.would_block = true;
    return result;
  }
  static StreamResult failed(std::error_code why) noexcept {
    StreamResult result;
    result.error = why;
    return result;
  }
};

// A connected, non-blocking stream of bytes: what a StreamLink speaks over. Loop-bound. Owned by
// its link; the destructor closes it at once and may run inside on_ready.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  virtual StreamResult send(std::span<const iovec> iovecs) = 0;
  // REQUIRES: room for at least one byte.
  virtual StreamResult receive(std::span<const iovec> iovecs) = 0;

  // Calls on_ready on the loop as long as the stream is ready for any of `events`, or is broken.
  // Called once.
  virtual std::error_code start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) = 0;
  virtual void set_events(FdEvents events) = 0;
  // Why the stream hung up, if it knows.
  virtual std::error_code take_error() noexcept = 0;

  virtual Address local_address() const = 0;
  virtual Address peer_address() const = 0;
};

}  // namespace lunar::msgr
