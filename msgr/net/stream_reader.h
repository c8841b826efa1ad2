// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "common/bytes.h"
#include "msgr/net/byte_stream.h"
#include "msgr/net/frame_receiver.h"
#include "msgr/net/link.h"

namespace lunar::msgr {

// The bytes of a stream on their way to a FrameReceiver. Headers, fronts and small data come
// through a buffer that is read ahead; a payload that has a place is received there, with what
// follows. With and after large payloads less is read ahead, so that the head of the next payload
// is not received into the buffer only to be copied out of it; with small ones the copy costs less
// than a system call for each. Loop-bound. Part of a link, as is the receiver; owns the buffer.
class StreamReader {
 public:
  // What one receive() brought.
  struct Received {
    StreamResult result;
    std::size_t placed_bytes = 0;  // of the payload; the caller tells the receiver of them
    bool has_drained = false;      // the stream gave less than it was asked for
  };

  StreamReader(FrameReceiver& receiver, LinkCounters& counters) noexcept
      : receiver_(receiver), counters_(counters) {}
  ~StreamReader() { *alive_ = false; }
  StreamReader(const StreamReader&) = delete;
  StreamReader& operator=(const StreamReader&) = delete;

  // How much is read ahead at most, from the next receive() on.
  void set_read_ahead(std::size_t bytes) noexcept { read_ahead_ = bytes; }
  // Bytes were read ahead and not decoded; no event of the stream will tell of them.
  bool has_unread() const noexcept { return begin_ != end_; }
  // Decodes what was read ahead. Returns whether to go on: the link may be paused, over or
  // destroyed by the handler of a frame.
  bool decode();
  // What was read ahead, for another reader. Not while it decodes.
  std::vector<std::byte> take_unread();
  // One system call. REQUIRES: not has_unread().
  Received receive(ByteStream& stream);

 private:
  FrameReceiver& receiver_;
  LinkCounters& counters_;
  const std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // false once destroyed
  std::size_t read_ahead_ = 64u << 10;
  std::unique_ptr<std::byte[]> buffer_;  // made when first needed
  std::size_t buffer_bytes_ = 0;
  std::size_t begin_ = 0;  // of what is not decoded, in buffer_
  std::size_t end_ = 0;
};

}  // namespace lunar::msgr
