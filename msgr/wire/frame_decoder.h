// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <system_error>
#include <vector>

#include "common/bytes.h"
#include "msgr/buffer.h"
#include "msgr/wire/frame.h"

namespace lunar::msgr {

// Turns bytes as they come into frames. Does no I/O: it is fed, and says where the bytes of a
// payload go, so that its owner can receive them there without a copy.
// Not thread-safe. Owns the frame being assembled; borrows the memory it is told to fill.
class FrameDecoder {
 public:
  enum class DecodeEvent : uint8_t {
    kNeedBytes,  // everything fed was used
    kPayload,    // header() and front() are here and right: place_payload() or skip_payload() next
    kFrame,      // take_frame() next
    kError,      // see error(); the stream is lost, and feed() gives this for ever
  };

  explicit FrameDecoder(const FrameLimits& limits) noexcept : limits_(limits) {}

  // Of the frames to come: the limit given at construction, or this if it is less.
  void set_max_front(uint32_t bytes) noexcept { max_front_ = bytes; }

  // Uses bytes from the front of `in`, which it shortens by them, up to the first event.
  // REQUIRES: what the last event asked for was done.
  DecodeEvent feed(ConstBytes& in);

  const FrameHeader& header() const noexcept { return header_; }
  ConstBytes front() const noexcept { return front_; }
  std::error_code error() const noexcept { return error_; }

  // Where the data goes: all of header().data_length. The memory is borrowed until take_frame() or
  // skip_payload(), or belongs to `buffer`, which is taken. REQUIRES: awaits_placement().
  void place_payload(Bytes target);
  void place_payload(RegisteredBuffer buffer);
  bool awaits_placement() const noexcept { return stage_ == Stage::kPlacement; }

  // The part of the payload that is still to come; empty if none is placed.
  Bytes payload_target() const noexcept;
  // That many bytes were received at the start of payload_target(). kNeedBytes, kFrame or kError.
  DecodeEvent payload_received(std::size_t length);

  // True while a payload is arriving, or has yet to, in memory lent by place_payload(Bytes).
  bool fills_borrowed() const noexcept { return stage_ == Stage::kPayload && !buffer_; }
  // The rest of the payload is read and thrown away, and the frame with it.
  // REQUIRES: awaits_placement(), or a payload is arriving.
  void skip_payload();

  // REQUIRES: the last event was kFrame.
  ReceivedFrame take_frame();

  // Between two frames: an end of the stream here loses nothing.
  bool is_at_boundary() const noexcept { return stage_ == Stage::kHeader && have_ == 0; }

 private:
  enum class Stage : uint8_t { kHeader, kFront, kPlacement, kPayload, kSkip, kFrame, kError };

  DecodeEvent fail_with(std::error_code error);
  DecodeEvent header_done();
  void grow_front();
  DecodeEvent front_done();
  void start_over() noexcept;

  const FrameLimits limits_;
  uint32_t max_front_ = UINT32_MAX;
  Stage stage_ = Stage::kHeader;
  std::size_t have_ = 0;  // bytes of the present stage
  FrameHeader header_{};
  std::vector<std::byte> front_;  // grows with what arrives
  Bytes data_;
  RegisteredBuffer buffer_;
  std::size_t copied_ = 0;  // of the payload
  uint32_t data_crc_ = 0;   // of what is here, while it is warm in the cache
  std::error_code error_;
};

}  // namespace lunar::msgr
