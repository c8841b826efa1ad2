// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/perf_counters.h"

namespace lunar::gateway {

// What `perf dump` shows of all images of a client, by librbd's names. Written on the client's
// loop.
struct GatewayCounters {
  explicit GatewayCounters(PerfRegistry& registry) : group(registry, "gateway") {}

  PerfGroup group;
  PerfCounter& rd = group.counter("rd", "reads");
  PerfCounter& rd_bytes = group.counter("rd_bytes", "bytes read", "bytes");
  PerfHistogram& rd_latency = group.histogram("rd_latency", "latency of reads");
  PerfCounter& wr = group.counter("wr", "writes");
  PerfCounter& wr_bytes = group.counter("wr_bytes", "bytes written", "bytes");
  PerfHistogram& wr_latency = group.histogram("wr_latency", "latency of writes");
  PerfCounter& discard = group.counter("discard", "discards and zeroing");
  PerfCounter& ws = group.counter("ws", "write sames");
  PerfCounter& cmp = group.counter("cmp", "compare and writes");
  PerfCounter& orw = group.counter("orw", "or writes");
  PerfCounter& flush = group.counter("flush", "flushes");
  PerfCounter& failed = group.counter("failed", "IOs that ended with an error");
  PerfCounter& split = group.counter("split", "IOs that became several object ops");
  PerfCounter& extents = group.counter("extents", "object ops that IOs became");
  PerfCounter& bytes_inline = group.counter("bytes_inline", "payload carried in frames", "bytes");
  PerfCounter& bytes_one_sided =
      group.counter("bytes_one_sided", "payload moved by RDMA READ and WRITE", "bytes");
  PerfGauge& in_flight = group.gauge("in_flight", "IOs now");
};

}  // namespace lunar::gateway
