// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/perf_counters.h"

namespace lunar::osd {

// Why a payload cannot be had from its client's memory. The client is told to send it.
enum class PullFault : uint8_t {
  kNone,
  kStale,      // the link of its keys is gone
  kLeaseOver,  // the client may have revoked its keys
  kFailed,     // an RDMA READ failed
  kDamaged,    // the checksum is wrong
  kNoMemory,   // no registered buffer came free in time
  kGivenUp     // the op was cancelled or fenced
};

// Group "osd_one_sided": payloads that this server moved by RDMA, and why it did not move others.
// Written by the server's loop, read by any thread.
struct OneSidedCounters {
  explicit OneSidedCounters(PerfRegistry& registry) : group(registry, "osd_one_sided") {}

  PerfGroup group;
  PerfCounter& pulls =
      group.counter("pulls", "fragments that were pulled by RDMA READ and had the right checksum");
  PerfCounter& pull_bytes =
      group.counter("pull_bytes", "bytes of the fragments that were pulled", "bytes");
  PerfCounter& pulled_ops = group.counter("pulled_ops", "ops whose whole payload was pulled");
  PerfCounter& pull_stale =
      group.counter("pull_stale", "ops that were not pulled because their link is gone");
  PerfCounter& pull_lease_over =
      group.counter("pull_lease_over", "ops that were not pulled because their lease was over");
  PerfCounter& pull_failed =
      group.counter("pull_failed", "ops that were not pulled because an RDMA READ failed");
  PerfCounter& pull_damaged =
      group.counter("pull_damaged", "ops that were not pulled because a checksum was wrong");
  PerfCounter& pull_no_memory = group.counter(
      "pull_no_memory", "ops that were not pulled because no registered buffer came free in time");
  PerfCounter& pull_given_up = group.counter(
      "pull_given_up", "ops that were not pulled because they were cancelled or fenced");
  PerfCounter& pushes = group.counter("pushes", "RDMA WRITEs that were posted");
  PerfCounter& push_bytes =
      group.counter("push_bytes", "bytes of the RDMA WRITEs that were posted", "bytes");
  PerfCounter& pushed_ops = group.counter("pushed_ops", "ops whose payload was pushed");
  PerfCounter& push_stale =
      group.counter("push_stale", "ops that were answered inline because their link is gone");
  PerfCounter& push_given_up = group.counter(
      "push_given_up", "ops that were answered inline because they were cancelled or fenced");
  PerfCounter& push_lease_over = group.counter(
      "push_lease_over", "ops that were answered inline because their lease was over");
  PerfCounter& push_plain = group.counter(
      "push_plain",
      "ops that were answered inline because the payload is not in registered memory");
  PerfCounter& push_repeated = group.counter(
      "push_repeated", "replies that were sent again inline because the link of the push was lost");

  // An op that is answered with kRetryInline.
  void count(PullFault fault) noexcept;
};

}  // namespace lunar::osd
