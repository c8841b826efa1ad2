// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/data_buffers.h"

#include <utility>

#include "common/check.h"

namespace lunar::gateway {

DataBuffers::DataBuffers(msgr::BufferPool& pool, PerfRegistry& perf)
    : pool_(pool),
      perf_(perf, "data_buffers"),
      allocated_(
          perf_.counter("allocated", "data buffers that were given out of registered memory")),
      refused_(perf_.counter(
          "refused",
          "data buffers that had to be plain memory because no registered memory was left")),
      bytes_in_use_(perf_.gauge(
          "bytes_in_use", "registered memory that is given out as data buffers now", "bytes")) {}

DataBuffers::~DataBuffers() {
  const MutexLock lock(mutex_);
  LUNAR_CHECK(leases_.empty(), "a registered data buffer was never released");
}

void* DataBuffers::allocate(std::size_t bytes) {
  // What is larger is plain memory in every pool, and an idle one takes any size for it; smaller
  // pools give plain memory sooner.
  constexpr std::size_t kLargest = 16u << 20;
  msgr::RegisteredBuffer lease;
  if (bytes <= kLargest) lease = pool_.allocate(bytes);
  if (!lease.is_registered()) {
    refused_.add_shared();
    return nullptr;
  }
  void* const begin = lease.bytes().data();
  allocated_.add_shared();
  bytes_in_use_.inc_shared(bytes);
  const MutexLock lock(mutex_);
  leases_.emplace(begin, std::move(lease));
  return begin;
}

bool DataBuffers::release(const void* begin) {
  msgr::RegisteredBuffer lease;  // goes back to the pool without our lock
  {
    const MutexLock lock(mutex_);
    const auto found = leases_.find(begin);
    if (found == leases_.end()) return false;
    lease = std::move(found->second);
    leases_.erase(found);
  }
  bytes_in_use_.dec_shared(lease.bytes().size());
  return true;
}

const msgr::RegisteredBuffer* DataBuffers::find(const void* begin) const {
  const MutexLock lock(mutex_);
  const auto found = leases_.find(begin);
  return found == leases_.end() ? nullptr : &found->second;
}

}  // namespace lunar::gateway
