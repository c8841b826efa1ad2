// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "gateway/image.h"

namespace lunar::bstore_plugin {

// The answer to GET LBA STATUS, SBC-4 5.10: put together extent by extent, until it is full or long
// enough. Says where to ask next, and does not ask. Not thread-safe.
class LbaStatusAnswer {
 public:
  // From byte `begin` of an image on, for an initiator with room for `room_bytes` of it. Blocks
  // have 1 << block_shift bytes; `begin` is the first byte of one.
  LbaStatusAnswer(uint64_t begin, uint32_t block_shift, std::size_t room_bytes);

  // False: it is whole. `image_bytes` is the size of the image now.
  bool wants_more(uint64_t image_bytes) const noexcept;
  // The byte of the image that add() goes on from.
  uint64_t next() const noexcept { return next_; }
  // What Image::allocation_at() says of next(). REQUIRES: wants_more(image_bytes).
  void add(const gateway::Image::Allocation& found, uint64_t image_bytes);

  // As the initiator gets it, however much room that has.
  std::vector<std::byte> encode() const;

 private:
  struct StatusRun {
    uint64_t begin = 0;  // bytes, as length: whole blocks, but for the end of the image
    uint64_t length = 0;
    bool is_allocated = false;  // not that of the run before
  };
  const uint32_t block_shift_;
  const std::size_t wanted_;  // runs that the initiator has room for, at least one
  uint64_t next_;             // the end of the last run
  std::size_t extents_asked_ = 0;
  std::vector<StatusRun> runs_;  // in order, without a gap; one more than wanted_ at most
};

}  // namespace lunar::bstore_plugin
