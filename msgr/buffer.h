// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "common/bytes.h"

namespace lunar::msgr {

// Lets a peer RDMA READ or WRITE a range of our memory, or us a range of the peer's;
// docs/protocol.md has it on the wire. Made by Link::expose(). The memory is released only by a
// reply on the QP that the key was sent on, a completed invalidation, or that QP's destruction. A
// value.
struct RemoteKey {
  uint64_t addr = 0;             // in the address space of the process that exposed it
  uint32_t rkey = 0;             // 0: not reachable remotely, the data travels in the frame
  uint32_t length = 0;           // bytes
  uint64_t link_generation = 0;  // the link whose QP it may be used on; the server drops any other
};

class BufferPool;

// Memory lent by a BufferPool, or nothing. Move-only; the destructor gives it back, on any thread.
// The pool outlives it. What is moved from is nothing. One thread at a time may use it; which, is
// its owner's business. REQUIRES at destruction: no WR, no RemoteKey and no queued frame refers to
// it any more.
class RegisteredBuffer {
 public:
  // Nothing.
  RegisteredBuffer() noexcept = default;
  // For pools: they get `slice` and `cookie` back in release().
  RegisteredBuffer(BufferPool* pool, Bytes slice, uint32_t cookie) noexcept
      : pool_(pool), bytes_(slice), cookie_(cookie) {}
  RegisteredBuffer(RegisteredBuffer&& other) noexcept { swap(other); }
  RegisteredBuffer& operator=(RegisteredBuffer&& other) noexcept {
    RegisteredBuffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~RegisteredBuffer();

  // Writable, page-aligned, as long as was asked for; the contents are whatever was there before.
  // Empty for nothing. Stays where it is when the buffer is moved.
  Bytes bytes() const noexcept { return bytes_; }
  // Whether there is memory.
  explicit operator bool() const noexcept { return pool_ != nullptr; }
  // The pool's own mark for the memory: where a transport registers memory, what finds the lkey.
  uint32_t cookie() const noexcept { return cookie_; }
  // Whether remote_read() and remote_write() can use it: then it is known to the device. False for
  // nothing. Memory that is not registered can be sent and received all the same, by a copy.
  bool is_registered() const noexcept;

 private:
  void swap(RegisteredBuffer& other) noexcept {
    std::swap(pool_, other.pool_);
    std::swap(bytes_, other.bytes_);
    std::swap(cookie_, other.cookie_);
  }
  BufferPool* pool_ = nullptr;  // null: nothing
  Bytes bytes_;
  uint32_t cookie_ = 0;  // means something to the pool only
};

// Payload memory of a stack, registered where the transport registers memory. Thread-safe, and
// never blocks. Owns the memory; outlives every buffer that it lent. Memory is reused and not
// cleared: what a peer can reach of it may hold bytes of others.
class BufferPool {
 public:
  virtual ~BufferPool() = default;
  // A buffer of exactly `length` bytes (from a size class of at least that), or nothing when the
  // pool's byte budget is used up. That is back-pressure, not an error: the pool does not tell when
  // there is memory again, so a caller that has to have some tries again. REQUIRES: length > 0.
  virtual RegisteredBuffer allocate(std::size_t length) = 0;
  // Of all buffers that are lent, by their size classes.
  virtual std::size_t bytes_in_use() const noexcept = 0;
  // The contiguous memory of the pool's that the byte lies in and that stays where it is for the
  // pool's life, for whoever registers it elsewhere too (io_uring, say); empty if there is none.
  // Any byte may be asked for, of the pool or not.
  virtual Bytes region_of(const std::byte* byte) const noexcept {
    (void)byte;
    return {};
  }
  // Whether remote_read() and remote_write() can use the buffer with that cookie; true also where
  // nothing has to be registered. False for what had to be made to measure, of plain memory.
  virtual bool is_registered(uint32_t cookie) const noexcept {
    (void)cookie;
    return true;
  }

 protected:
  friend class RegisteredBuffer;
  // Takes back what allocate() lent, once; on any thread.
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
