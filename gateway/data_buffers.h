// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <unordered_map>

#include "common/mutex.h"
#include "common/perf_counters.h"
#include "msgr/buffer.h"

namespace lunar::gateway {

// Registered memory handed out by plain pointer, for callers that have no room for a lease: tgt's
// data buffers, and the C API's. An IO on such memory finds its lease again by the pointer, and may
// then be moved by RDMA.
// Thread-safe. Owns the leases; borrows the pool and the registry, which outlive it.
class DataBuffers {
 public:
  DataBuffers(msgr::BufferPool& pool, PerfRegistry& perf);
  ~DataBuffers();  // REQUIRES: everything was released

  // Page-aligned, not cleared. Null if the pool has none left just now, or for more than 16 MiB,
  // which it never gives at once: the caller takes plain memory, whose bytes travel inline.
  // REQUIRES: bytes > 0.
  void* allocate(std::size_t bytes);
  // Gives it back to the pool. False, and nothing happens, if it is not ours: any pointer may be
  // asked about. REQUIRES: no IO uses it.
  bool release(const void* begin);
  // The lease of the memory that begins exactly there, good until it is released; null if that is
  // not ours.
  const msgr::RegisteredBuffer* find(const void* begin) const;

 private:
  msgr::BufferPool& pool_;
  PerfGroup perf_;
  PerfCounter& allocated_;  // allocate() that gave something
  PerfCounter& refused_;    // allocate() that gave null
  PerfGauge& bytes_in_use_;
  mutable Mutex mutex_;
  std::unordered_map<const void*, msgr::RegisteredBuffer> leases_
      GUARDED_BY(mutex_);  // by the pointer they were given out as
};

}  // namespace lunar::gateway
