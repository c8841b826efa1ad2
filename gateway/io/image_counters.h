// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/perf_counters.h"
#include "gateway/image_counts.h"

namespace lunar::gateway {

// What `perf dump` shows of one image that a client has open, by librbd's names: as in
// GatewayCounters. Written on the client's loop. Shared by all opens of the image.
struct ImageCounters {
  // `spec` is POOL/IMAGE, as it was opened.
  ImageCounters(PerfRegistry& registry, const std::string& spec)
      : group(registry, "image." + spec) {}

  ImageCounts counts() const noexcept {
    return {rd.value(), rd_bytes.value(), rd_latency.sum(),
            wr.value(), wr_bytes.value(), wr_latency.sum()};
  }

  PerfGroup group;
  PerfCounter& rd = group.counter("rd", "READs of the image that have ended");
  PerfCounter& rd_bytes = group.counter("rd_bytes", "bytes that READs asked for", "bytes");
  PerfTimeAverage& rd_latency =
      group.time_average("rd_latency", "how long READs of the image took, from submit to done");
  PerfCounter& wr = group.counter("wr", "WRITEs of the image that have ended");
  PerfCounter& wr_bytes = group.counter("wr_bytes", "bytes that WRITEs asked to write", "bytes");
  PerfTimeAverage& wr_latency =
      group.time_average("wr_latency", "how long WRITEs of the image took, from submit to done");
  PerfCounter& discard = group.counter("discard", "discards and write zeroes that have ended");
  PerfCounter& flush = group.counter("flush", "flushes of the image that have ended");
  PerfCounter& failed = group.counter("failed", "IOs of the image that ended with an error");
  PerfGauge& in_flight = group.gauge("in_flight", "IOs of the image that are in flight now");
};

}  // namespace lunar::gateway
