// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <unordered_map>

#include "common/mutex.h"
#include "common/perf_counters.h"
#include "msgr/buffer.h"

namespace lunar::gateway {

// Registered memory handed out by plain pointer, for callers that have no room for a lease: tgt's
// buffers, and the C API's.
// Thread-safe. Owns the leases; borrows the pool and the registry, which outlive it.
class DataBuffers {
 public:
  DataBuffers(msgr::BufferPool& pool, PerfRegistry& perf);
  ~DataBuffers();  // REQUIRES: everything was released

  // Page-aligned, not cleared. Null if the pool has none left, or never has so much in one piece
  // (above 16 MiB): plain memory does as well, its bytes then travel inline. REQUIRES: bytes > 0.
  void* allocate(std::size_t bytes);
  // False if it is not ours. REQUIRES: no IO uses it.
  bool release(const void* begin);
  // The lease of the memory that begins exactly there, good until it is released; null if that is
  // not ours.
  const msgr::RegisteredBuffer* find(const void* begin) const;

 private:
  msgr::BufferPool& pool_;
  PerfGroup perf_;
  PerfCounter& allocated_;
  PerfCounter& refused_;
  PerfGauge& in_use_;
  mutable Mutex mutex_;
  std::unordered_map<const void*, msgr::RegisteredBuffer> leases_ GUARDED_BY(mutex_);
};

}  // namespace lunar::gateway
