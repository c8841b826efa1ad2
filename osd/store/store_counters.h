// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::osd {

// Group "osd_store". Written by the store's loop, read by any thread.
struct StoreCounters {
  explicit StoreCounters(PerfRegistry& registry) : group(registry, "osd_store") {}

  PerfGroup group;
  PerfCounter& ring_bytes =
      group.counter("ring_bytes", "bytes that io_uring read and wrote", "bytes");
  PerfCounter& ring_fixed_bytes = group.counter(
      "ring_fixed_bytes", "bytes that io_uring read and wrote in fixed buffers", "bytes");
};

}  // namespace lunar::osd
