// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "bstore_plugin/tcp/command_buffers.h"
#include "common/perf_counters.h"

namespace lunar::bstore_plugin {

// What a connection has to send, in order: copies of what is small, and references to what is large
// and stands in a command's buffer. Takes any number of bytes: whoever adds looks at bytes().
// Not thread-safe: on tgtd's thread. Holds the buffers it refers to; borrows the rest.
class CollectedOutput {
 public:
  enum class Flushed {
    kSent,     // everything
    kBlocked,  // the socket takes no more just now
    kBroken,   // it never will again; nothing is left to send
  };

  CollectedOutput(int fd, CommandBuffers& buffers, PerfCounter& calls)
      : fd_(fd), buffers_(buffers), calls_(calls) {}
  CollectedOutput(const CollectedOutput&) = delete;
  CollectedOutput& operator=(const CollectedOutput&) = delete;
  ~CollectedOutput() { clear(); }

  // False if there is no memory. REQUIRES: bytes > 0.
  bool add_copy(const void* from, std::size_t bytes);
  // Keeps the buffer until they are sent. REQUIRES: the bytes are in the buffer, and nobody changes
  // them before.
  void add_reference(CommandBuffers::Buffer& buffer, const std::byte* from, std::size_t bytes);

  std::size_t bytes() const noexcept { return bytes_; }
  Flushed flush();
  void clear();

 private:
  static constexpr std::size_t kCopiesBytes = 16u << 10;
  static constexpr std::size_t kMaxStretches = 256;       // of one sendmsg()
  static constexpr std::size_t kMaxSentStretches = 1024;  // that stretches_ still has

  struct Stretch {
    const std::byte* begin;
    std::size_t bytes;
    CommandBuffers::Buffer* buffer;  // held once for this stretch
  };

  void drop_copies();
  void on_sent(std::size_t bytes);

  const int fd_;
  CommandBuffers& buffers_;
  PerfCounter& calls_;
  std::vector<Stretch> stretches_;            // those before first_ are sent
  std::size_t first_ = 0;                     // never above stretches_.size()
  std::size_t bytes_ = 0;                     // of the stretches from first_ on
  CommandBuffers::Buffer* copies_ = nullptr;  // held; copies go to its end
  std::size_t copied_ = 0;
};

}  // namespace lunar::bstore_plugin
