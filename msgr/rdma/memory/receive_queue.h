// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/rdma/device/device.h"
#include "msgr/rdma/memory/chunk.h"
#include "msgr/rdma/verbs.h"

namespace lunar::msgr::rdma {

// How much of its buffer a receive that succeeded has filled. Nothing if it was not a SEND: an RDMA
// WRITE with immediate data takes a buffer and leaves in it what somebody else's SEND had put
// there.
inline uint32_t received_bytes(const ibv_wc& wc) noexcept {
  return wc.opcode == IBV_WC_RECV ? wc.byte_len : 0;
}

// A registered block of equal buffers. Owns it. Made and destroyed on the service thread.
class BufferBlock {
 public:
  static constexpr std::size_t kLargest = Mapping::kAlignment;
  // What it pins: whole pages. An error if there is no such block.
  static Result<std::size_t> bytes_of(uint32_t count, uint32_t buffer_bytes);
  // Blocks. Without a device it is memory that no device reaches, as an arena's is then: for tests.
  static Result<std::unique_ptr<BufferBlock>> create(const Device* device, uint32_t count,
                                                     uint32_t buffer_bytes, int access,
                                                     bool use_hugepages);
  ~BufferBlock();
  Bytes buffer(uint32_t index) const noexcept {
    return {mapping_->begin() + std::size_t{index} * buffer_bytes_, buffer_bytes_};
  }
  Bytes bytes() const noexcept { return {mapping_->begin(), std::size_t{count_} * buffer_bytes_}; }
  uint32_t count() const noexcept { return count_; }
  uint32_t lkey() const noexcept { return lkey_; }

 private:
  BufferBlock() = default;
  std::unique_ptr<Mapping> mapping_;  // outlives its registration
  VerbsPtr<ibv_mr> mr_;               // null without a device
  uint32_t lkey_ = 0;
  uint32_t count_ = 0;
  uint32_t buffer_bytes_ = 0;
};

// Receive buffers of an SRQ, or of a QP without one. They may be written to (LOCAL_WRITE) by what
// the peer sends, and by nothing else.
// add(), count() and takes_more() are for the service thread; the rest for the loop. Borrows the
// queue it fills.
class ReceiveQueue {
 public:
  ReceiveQueue(std::shared_ptr<Device> device, uint32_t buffer_bytes, bool use_hugepages)
      : device_(std::move(device)), buffer_bytes_(buffer_bytes), use_hugepages_(use_hugepages) {}
  // One of these two, before the first add().
  void set_target(ibv_srq* srq) noexcept { srq_ = srq; }
  void set_target(ibv_qp* qp) noexcept { qp_ = qp; }

  static constexpr uint32_t kBuffersPerBlock = 256;
  static constexpr uint32_t kMaxBuffers = 64 * kBuffersPerBlock;
  // Registers and posts `count` buffers more, at most kBuffersPerBlock. Blocks.
  std::error_code add(uint32_t count);
  uint32_t count() const noexcept { return count_; }
  // False once it has as many as it can hold, or refused one: add() fails ever after.
  bool takes_more() const noexcept { return !has_refused_ && owned_.size() < blocks_.size(); }

  // False for an index that names no buffer.
  bool has(uint32_t index) const noexcept { return block_of(index) != nullptr; }
  Bytes buffer(uint32_t index) const noexcept {
    return block_of(index)->buffer(index % kBuffersPerBlock);
  }
  // Hands a buffer back to the device with the next flush().
  void repost(uint32_t index) { waiting_.push_back(index); }
  // Posts what was reposted, with one call if there is little. An error is the queue's end.
  std::error_code flush();

 private:
  const BufferBlock* block_of(uint32_t index) const noexcept {
    const uint32_t block = index / kBuffersPerBlock;
    if (block >= blocks_.size()) return nullptr;
    const BufferBlock* found = blocks_[block].load(std::memory_order_acquire);
    return found != nullptr && index % kBuffersPerBlock < found->count() ? found : nullptr;
  }
  std::error_code post(const uint32_t* indices, std::size_t count);

  const std::shared_ptr<Device> device_;
  const uint32_t buffer_bytes_;
  const bool use_hugepages_;
  ibv_srq* srq_ = nullptr;
  ibv_qp* qp_ = nullptr;
  uint32_t count_ = 0;        // of buffers that are posted, or held by links
  bool has_refused_ = false;  // the device did not take a buffer
  std::vector<std::unique_ptr<BufferBlock>> owned_;
  std::array<std::atomic<const BufferBlock*>, kMaxBuffers / kBuffersPerBlock> blocks_{};
  std::vector<uint32_t> waiting_;
};

}  // namespace lunar::msgr::rdma
