// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <memory>
#include <string>

#include "common/perf_counters.h"
#include "gateway/image_header.h"
#include "gateway/io/image_counters.h"

namespace lunar::gateway {

// What `perf dump` shows of all images of a client, by librbd's names. Written on the client's
// loop.
struct GatewayCounters {
  explicit GatewayCounters(PerfRegistry& registry)
      : group(registry, "gateway"), registry_(registry) {}

  // Those of one image: the same for all who have it open now. `spec` is POOL/IMAGE.
  std::shared_ptr<ImageCounters> of_image(ImageId id, const std::string& spec) {
    std::erase_if(images_, [](const auto& each) { return each.second.expired(); });
    std::shared_ptr<ImageCounters> counters = images_[id].lock();
    if (counters == nullptr) {
      counters = std::make_shared<ImageCounters>(registry_, spec);
      images_[id] = counters;
    }
    return counters;
  }

  PerfGroup group;
  PerfCounter& rd = group.counter("rd", "READs that have ended");
  PerfCounter& rd_bytes = group.counter("rd_bytes", "bytes that READs asked for", "bytes");
  PerfHistogram& rd_latency =
      group.histogram("rd_latency", "how long READs took, from submit to done");
  PerfCounter& wr = group.counter("wr", "WRITEs that have ended");
  PerfCounter& wr_bytes = group.counter("wr_bytes", "bytes that WRITEs asked to write", "bytes");
  PerfHistogram& wr_latency =
      group.histogram("wr_latency", "how long WRITEs took, from submit to done");
  PerfCounter& discard = group.counter("discard", "discards and write zeroes that have ended");
  PerfCounter& ws = group.counter("ws", "write sames that have ended");
  PerfCounter& cmp = group.counter("cmp", "compare and writes that have ended");
  PerfCounter& orw = group.counter("orw", "or writes that have ended");
  PerfCounter& flush = group.counter("flush", "flushes that have ended");
  PerfCounter& failed = group.counter("failed", "IOs that ended with an error");
  PerfCounter& split = group.counter("split", "IOs that were split into several object ops");
  PerfCounter& extents = group.counter("extents", "object ops that IOs were split into");
  PerfCounter& bytes_inline =
      group.counter("bytes_inline", "payload that travelled in frames", "bytes");
  PerfCounter& bytes_one_sided = group.counter(
      "bytes_one_sided", "payload that servers moved by RDMA READ and WRITE", "bytes");
  PerfGauge& in_flight = group.gauge("in_flight", "IOs that are in flight now");

 private:
  PerfRegistry& registry_;
  std::map<ImageId, std::weak_ptr<ImageCounters>> images_;  // of those that are open
};

}  // namespace lunar::gateway
