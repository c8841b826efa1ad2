// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/perf_counters.h"

namespace lunar::osd {

// Why a payload cannot be had from its client's memory. The client is told to send it.
enum class PullFault : uint8_t {
  kNone,
  kStale,
  kLeaseOver,
  kFailed,
  kDamaged,
  kNoMemory,
  kGivenUp
};

// Group "osd_one_sided": payloads that this server moved by RDMA, and why it did not move others.
// Written by the server's loop, read by any thread.
struct OneSidedCounters {
  explicit OneSidedCounters(PerfRegistry& registry) : group(registry, "osd_one_sided") {}

  PerfGroup group;
  PerfCounter& pulls = group.counter("pulls", "fragments pulled by RDMA READ, and right");
  PerfCounter& pull_bytes = group.counter("pull_bytes", "… their bytes", "bytes");
  PerfCounter& pulled_ops = group.counter("pulled_ops", "ops whose payload was pulled whole");
  PerfCounter& pull_stale = group.counter("pull_stale", "ops not pulled: their link is gone");
  PerfCounter& pull_lease_over = group.counter("pull_lease_over", "… it was too late to begin");
  PerfCounter& pull_failed = group.counter("pull_failed", "… a READ failed");
  PerfCounter& pull_damaged = group.counter("pull_damaged", "… the checksum was wrong");
  PerfCounter& pull_no_memory =
      group.counter("pull_no_memory", "… no registered buffer came free in time");
  PerfCounter& pull_given_up = group.counter("pull_given_up", "… cancelled or fenced");
  PerfCounter& pushes = group.counter("pushes", "RDMA WRITEs posted");
  PerfCounter& push_bytes = group.counter("push_bytes", "… their bytes", "bytes");
  PerfCounter& pushed_ops = group.counter("pushed_ops", "ops whose payload was pushed");
  PerfCounter& push_stale = group.counter("push_stale", "answered inline: the link is gone");
  PerfCounter& push_given_up = group.counter("push_given_up", "… cancelled or fenced");
  PerfCounter& push_lease_over = group.counter("push_lease_over", "… it was too late to begin");
  PerfCounter& push_plain = group.counter("push_plain", "… its memory is not registered");
  PerfCounter& push_repeated =
      group.counter("push_repeated", "… the pushed answer was lost with its link");

  // An op that is answered with kRetryInline.
  void count(PullFault fault) noexcept;
};

}  // namespace lunar::osd
