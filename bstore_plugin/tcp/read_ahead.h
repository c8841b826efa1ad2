// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/perf_counters.h"

namespace lunar::bstore_plugin {

// Blocks of memory that connections read ahead into. A few serve any number of connections, since
// one is needed only while it has bytes. Not thread-safe: on tgtd's thread.
class ReadAheadBlocks {
 public:
  static constexpr std::size_t kBlockBytes = 64u << 10;

  std::unique_ptr<std::byte[]> take();
  void give_back(std::unique_ptr<std::byte[]> block);

 private:
  static constexpr std::size_t kMaxSpare = 16;
  std::vector<std::unique_ptr<std::byte[]>> spare_;
};

// The receiving side of a socket: what was asked for goes straight to where it belongs, and what
// the socket has behind it into a block, in one system call. Not thread-safe: on tgtd's thread.
// Borrows the descriptor, the blocks and the counter.
class ReadAhead {
 public:
  enum class Arrival {
    kBytes,    // some, perhaps fewer than asked for
    kNothing,  // none has arrived
    kEnd,      // the peer has closed, or the connection is broken
  };
  struct Gained {
    Arrival arrival;
    std::size_t bytes;  // 0 unless kBytes
  };

  ReadAhead(int fd, ReadAheadBlocks& blocks, PerfCounter& calls)
      : fd_(fd), blocks_(blocks), calls_(calls) {}

  // REQUIRES: bytes > 0.
  Gained read(void* to, std::size_t bytes);
  // The socket may have more than it had: epoll says so.
  void on_readable() noexcept { is_drained_ = false; }
  bool has_bytes() const noexcept { return begin_ != end_; }
  // Gives the block back unless it has bytes.
  void give_block_back();

 private:
  const int fd_;
  ReadAheadBlocks& blocks_;
  PerfCounter& calls_;
  std::unique_ptr<std::byte[]>
      block_;              // null unless it has bytes, or since the last give_block_back()
  std::size_t begin_ = 0;  // in block_, never above end_
  std::size_t end_ = 0;
  bool is_drained_ = false;  // the socket gave less than there was room for
};

}  // namespace lunar::bstore_plugin
