// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "msgr/fair_shares.h"

namespace lunar::bstore_plugin {

// What the data buffers of one initiator's connection add up to. Outlives them.
struct BufferOwner {
  std::size_t bytes = 0;
  uint32_t buffers = 0;
  msgr::FairShares::Held share;  // of `bytes`; nothing if they are not bounded with others'

  void add(std::size_t capacity) noexcept {
    bytes += capacity;
    ++buffers;
    share.resize(bytes);
  }
  void subtract(std::size_t capacity) noexcept {
    bytes -= capacity;
    --buffers;
    share.resize(bytes);
  }
};

// Memory for commands that another pool gives by plain pointer: what is registered for RDMA.
class ForeignBuffers {
 public:
  virtual ~ForeignBuffers() = default;
  virtual void* allocate(std::size_t bytes) = 0;  // null if there is none
  virtual void release(void* begin) = 0;
};

// tgtd's data buffers: page-aligned memory that is kept when a command ends, so that the next one
// finds its pages mapped. A buffer that tgt frees lives on while bytes of it wait to be sent.
// Not thread-safe: on tgtd's thread. Owns the memory; borrows the foreign pool.
class CommandBuffers {
 public:
  struct Buffer {
    std::byte* begin;
    std::size_t capacity;
    uint32_t references;  // tgt's one, and one per hold(); 0 while it is kept for the next command
    uint8_t size_class;   // kUnpooled, or an index of kept_
    bool is_foreign;
    BufferOwner* owner;  // null unless somebody is charged
  };

  // Kept memory is up to this many bytes; what is freed beyond goes back to the system.
  static constexpr std::size_t kMaxKeptBytes = 64u << 20;

  CommandBuffers() = default;
  CommandBuffers(const CommandBuffers&) = delete;
  CommandBuffers& operator=(const CommandBuffers&) = delete;
  ~CommandBuffers();

  // Asked first from now on, for a page and more; null: nobody.
  void set_foreign(ForeignBuffers* foreign) noexcept { foreign_ = foreign; }

  // Not cleared, at least one page. `owner` is charged with its capacity until the last reference
  // is gone; null charges nobody. Null if there is no memory.
  Buffer* allocate(std::size_t bytes, BufferOwner* owner);
  // The buffer that begins exactly there and is in use; null if there is none.
  Buffer* find(const void* begin) noexcept;
  void hold(Buffer& buffer) noexcept { ++buffer.references; }
  void release(Buffer& buffer);

  std::size_t kept_bytes() const noexcept { return kept_bytes_; }

 private:
  static constexpr std::size_t kSmallest = 4096;
  static constexpr std::size_t kNumClasses = 11;  // 4 KiB … 4 MiB, powers of two
  static constexpr uint8_t kUnpooled = 0xff;

  static uint8_t class_of(std::size_t bytes) noexcept;
  Buffer* take(Buffer& buffer, BufferOwner* owner) noexcept;

  ForeignBuffers* foreign_ = nullptr;
  std::unordered_map<const void*, Buffer> buffers_;  // in use or kept, by `begin`
  std::array<std::vector<Buffer*>, kNumClasses> kept_;
  std::size_t kept_bytes_ = 0;
};

}  // namespace lunar::bstore_plugin
