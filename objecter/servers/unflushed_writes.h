// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <unordered_map>

#include "objecter/protocol/types.h"

namespace lunar::objecter {

// Notices that one server lost writes which it had acknowledged: its verifier changed between the
// acknowledgement and the flush. The server's own durable mark says so too; this also covers one
// that does not know. Loop-bound; a value.
class UnflushedWrites {
 public:
  // A write that is not durable by itself was acknowledged.
  void on_write(ImageId image, uint64_t verifier);
  // To be taken when a FLUSH is sent: it covers what was acknowledged before.
  uint64_t mark() const noexcept { return acknowledged_; }
  // The FLUSH that was sent at `mark` succeeded. True if writes before it may be lost: said once.
  bool on_flush(ImageId image, uint64_t verifier, uint64_t mark);
  // The server itself reported lost writes: what was acknowledged before `mark` is dealt with.
  void on_loss_reported(ImageId image, uint64_t verifier, uint64_t mark);

  std::size_t images() const noexcept { return images_.size(); }

 private:
  struct UnflushedImage {
    uint64_t verifier = 0;  // of the newest write
    uint64_t last = 0;      // its number
    bool is_lost = false;   // an older one had another verifier
  };
  std::unordered_map<ImageId, UnflushedImage> images_;  // those with writes that no FLUSH covered
  uint64_t acknowledged_ = 0;                           // writes, of all images
};

}  // namespace lunar::objecter
