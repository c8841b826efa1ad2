// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "common/bytes.h"

namespace lunar::msgr {

// Lets a peer RDMA READ or WRITE a range of our memory, docs/protocol.md.
// Released only by a reply on the QP it was sent on, a completed invalidation, or that QP's
// destruction.
struct RemoteKey {
  uint64_t addr = 0;             // in the exporting process
  uint32_t rkey = 0;             // 0: not reachable remotely, the data travels in the frame
  uint32_t length = 0;           // bytes
  uint64_t link_generation = 0;  // the link whose QP it may be used on; the server drops any other
};

class BufferPool;

// A lease on one slice of a BufferPool. Move-only; the destructor gives the slice back, on any
// thread. REQUIRES at destruction: no WR, no RemoteKey and no queued frame refers to it any more.
class RegisteredBuffer {
 public:
  RegisteredBuffer() noexcept = default;
  RegisteredBuffer(BufferPool* pool, Bytes slice, uint32_t cookie) noexcept
      : pool_(pool), bytes_(slice), cookie_(cookie) {}
  RegisteredBuffer(RegisteredBuffer&& other) noexcept { swap(other); }
  RegisteredBuffer& operator=(RegisteredBuffer&& other) noexcept {
    RegisteredBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~RegisteredBuffer();

  Bytes bytes() const noexcept { return bytes_; }  // page-aligned
  explicit operator bool() const noexcept { return pool_ != nullptr; }
  // The pool's own mark for the slice (its lkey index, say).
  uint32_t cookie() const noexcept { return cookie_; }
  // Whether remote_read() and remote_write() can use it. False for an empty lease.
  bool is_registered() const noexcept;

 private:
  void swap(RegisteredBuffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(bytes_, other.bytes_);
    std::swap(cookie_, other.cookie_);
  }
  BufferPool* pool_ = nullptr;
  Bytes bytes_;
  uint32_t cookie_ = 0;
};

// Payload memory of a stack, registered where the transport registers memory. Thread-safe.
// Outlives every lease. Slices are page-aligned and reused; their contents are not cleared.
class BufferPool {
 public:
  virtual ~BufferPool() = default;
  // A slice of exactly `length` bytes (from a size class of at least that), or an empty lease when
  // the pool's byte budget is used up: back-pressure, not an error. REQUIRES: length > 0.
  virtual RegisteredBuffer allocate(std::size_t length) = 0;
  virtual std::size_t bytes_in_use() const noexcept = 0;
  // The part of the pool's memory that the byte lies in and that stays where it is for the pool's
  // life, for whoever registers it elsewhere too; empty if there is none.
  virtual Bytes region_of(const std::byte* byte) const noexcept {
    (void)byte;
    return {};
  }
  // Of the slice with that cookie; true also where nothing has to be registered.
  virtual bool is_registered(uint32_t cookie) const noexcept {
    (void)cookie;
    return true;
  }

 protected:
  friend class RegisteredBuffer;
  virtual void release(Bytes slice, uint32_t cookie) noexcept = 0;
};

inline RegisteredBuffer::~RegisteredBuffer() {
  if (pool_ != nullptr) pool_->release(bytes_, cookie_);
}

inline bool RegisteredBuffer::is_registered() const noexcept {
  return pool_ != nullptr && pool_->is_registered(cookie_);
}

// Plain page-aligned memory in power-of-two classes (4 KiB … 16 MiB), kept for reuse up to
// `cached_bytes`; larger slices are made to measure. allocate() refuses above `budget_bytes` in
// use, except that an idle pool grants one slice of any size: what fits a limit can always proceed.
// For the posix stack.
std::unique_ptr<BufferPool> make_heap_buffer_pool(std::size_t budget_bytes,
                                                  std::size_t cached_bytes);

}  // namespace lunar::msgr
