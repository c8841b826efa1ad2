// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/uio.h>

#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <vector>

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
  // Called again, it replaces on_ready. REQUIRES: not inside on_ready.
  virtual std::error_code start(FdEvents events, InlineFunction<void(FdEvents)> on_ready) = 0;
  virtual void set_events(FdEvents events) = 0;
  // Why the stream hung up, if it knows.
  virtual std::error_code take_error() noexcept = 0;

  virtual Address local_address() const = 0;
  virtual Address peer_address() const = 0;
};

// Makes the stream that a link goes on over, on top of the one that it had. For one link.
class StreamWrap {
 public:
  virtual ~StreamWrap() = default;
  // Takes `below`, which may have been started, and what was read from it and belongs to the new
  // stream. Called on the loop of `center`, and not inside a callback of `below`.
  virtual std::unique_ptr<ByteStream> wrap(EventCenter& center, std::unique_ptr<ByteStream> below,
                                           std::vector<std::byte> unread) = 0;
};

}  // namespace lunar::msgr
