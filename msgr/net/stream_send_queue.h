// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <limits.h>
#include <sys/uio.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "msgr/net/link.h"
#include "msgr/net/outgoing.h"

namespace lunar::msgr {

// Frames that wait for a byte stream, in order, and how much of the first one the stream has taken.
// Does no I/O. Loop-bound. Owns the frames and their `sent`; their data is borrowed.
class StreamSendQueue {
 public:
  // What one system call is offered: headers, fronts and data where they lie. Large: for the stack.
  struct Gathered {
    static constexpr std::size_t kMostBytes = std::size_t{4} << 20;  // of one link at a time
    std::array<iovec, IOV_MAX> iovecs;
    std::size_t count = 0;
    std::size_t bytes = 0;

    bool is_full() const noexcept { return count == iovecs.size() || bytes >= kMostBytes; }
    // Adds what lies behind the first `skip` bytes, and shortens `skip` by what was skipped.
    void add(ConstBytes span, std::size_t& skip) noexcept {
      const std::size_t skipped = std::min(skip, span.size());
      skip -= skipped;
      span = span.subspan(skipped);
      if (span.empty() || is_full()) return;
      iovecs[count++] = {const_cast<std::byte*>(span.data()), span.size()};
      bytes += span.size();
    }
  };

  // REQUIRES: `frame` is sealed.
  void push(Frame&& frame, IoDone&& sent) {
    const std::size_t bytes = frame_bytes(frame);
    queue_.emplace_back(std::move(frame), std::move(sent), bytes);
    queued_bytes_ += bytes;
  }
  bool is_empty() const noexcept { return head_ == queue_.size(); }
  // Not taken by the stream yet.
  std::size_t queued_bytes() const noexcept { return queued_bytes_; }

  void gather(Gathered& out) const noexcept;
  // The stream took the first `bytes`. Adds the `sent` of each frame that has left to `finished`,
  // for the caller to run, and returns how many frames those are. REQUIRES: bytes <=
  // queued_bytes().
  std::size_t advance(std::size_t bytes, std::vector<IoDone>& finished);
  // Drops the frames; what is returned has not run.
  std::vector<IoDone> take_unsent();

 private:
  struct QueuedFrame {
    QueuedFrame(Frame&& to_send, IoDone&& done, std::size_t frame_bytes) noexcept
        : frame(std::move(to_send)), sent(std::move(done)), bytes(frame_bytes) {}
    Frame frame;
    IoDone sent;
    std::size_t bytes;
  };

  std::vector<QueuedFrame> queue_;  // from head_ on; those before have left
  std::size_t head_ = 0;
  std::size_t head_bytes_sent_ = 0;  // of queue_[head_]; less than its bytes
  std::size_t queued_bytes_ = 0;
};

}  // namespace lunar::msgr
