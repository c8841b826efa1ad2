// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/memory/receive_queue.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "common/memlock.h"
#include "msgr/rdma/queue/wr_id.h"

namespace lunar::msgr::rdma {

Result<std::size_t> BufferBlock::bytes_of(uint32_t count, uint32_t buffer_bytes) {
  const std::size_t bytes = std::size_t{count} * buffer_bytes;
  if (bytes == 0 || bytes > kLargest) {
    return failure(std::make_error_code(std::errc::invalid_argument));
  }
  return (bytes + Buddy::kUnit - 1) / Buddy::kUnit * Buddy::kUnit;
}

Result<std::unique_ptr<BufferBlock>> BufferBlock::create(const Device* device, uint32_t count,
                                                         uint32_t buffer_bytes, int access,
                                                         bool use_hugepages) {
  const auto bytes = bytes_of(count, buffer_bytes);
  if (!bytes) return failure(bytes.error());
  if (const auto room = check_memlock(raise_memlock(), *bytes, "receive and send buffers"); !room) {
    return failure(room.error().code);
  }
  auto mapping = Mapping::create(*bytes, use_hugepages);
  if (!mapping) return failure(mapping.error());
  std::unique_ptr<BufferBlock> block(new BufferBlock);
  block->mapping_ = std::move(*mapping);
  block->count_ = count;
  block->buffer_bytes_ = buffer_bytes;
  if (device == nullptr) return block;
  block->mr_.reset(ibv_reg_mr(device->pd(), block->mapping_->begin(), *bytes, access));
  if (!block->mr_) return failure(verbs_error(errno));
  block->lkey_ = block->mr_->lkey;
  note_pinned(*bytes);
  return block;
}

BufferBlock::~BufferBlock() {
  if (mr_) note_unpinned(mapping_->size());
}

std::error_code ReceiveQueue::add(uint32_t count) {
  if (!takes_more()) return std::make_error_code(std::errc::no_buffer_space);
  count = std::min(count, kBuffersPerBlock);
  auto block = BufferBlock::create(device_.get(), count, buffer_bytes_, IBV_ACCESS_LOCAL_WRITE,
                                   use_hugepages_);
  if (!block) return block.error();
  const auto first = static_cast<uint32_t>(owned_.size()) * kBuffersPerBlock;
  owned_.push_back(std::move(*block));
  blocks_[owned_.size() - 1].store(owned_.back().get(), std::memory_order_release);
  std::vector<uint32_t> indices(count);
  for (uint32_t i = 0; i < count; ++i) indices[i] = first + i;
  if (const auto error = post(indices.data(), indices.size())) {
    has_refused_ = true;
    return error;
  }
  count_ += count;
  return {};
}

std::error_code ReceiveQueue::flush() {
  if (waiting_.empty()) return {};
  const auto error = post(waiting_.data(), waiting_.size());
  waiting_.clear();
  return error;
}

std::error_code ReceiveQueue::post(const uint32_t* indices, std::size_t count) {
  constexpr std::size_t kBatch = 32;
  ibv_recv_wr requests[kBatch];
  ibv_sge elements[kBatch];
  while (count > 0) {
    const std::size_t batch = std::min(count, kBatch);
    for (std::size_t i = 0; i < batch; ++i) {
      const Bytes memory = buffer(indices[i]);
      elements[i] = {reinterpret_cast<uint64_t>(memory.data()),
                     static_cast<uint32_t>(memory.size()), block_of(indices[i])->lkey()};
      requests[i] = {WrId::receive(indices[i]).value(), i + 1 < batch ? &requests[i + 1] : nullptr,
                     &elements[i], 1};
    }
    ibv_recv_wr* bad = nullptr;
    const int error = srq_ != nullptr ? ibv_post_srq_recv(srq_, requests, &bad)
                                      : ibv_post_recv(qp_, requests, &bad);
    if (error != 0) return verbs_error(error);
    indices += batch;
    count -= batch;
  }
  return {};
}

}  // namespace lunar::msgr::rdma
