// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "common/perf_counters.h"

namespace lunar::msgr::rdma {

enum class Count : uint8_t {
  kPosts,           // calls of ibv_post_send(3)
  kSends,           // segments with frames
  kSendBytes,       // of frames
  kInlineSends,     // of kSends
  kCopiedBytes,     // of kSendBytes: through a bounce buffer
  kGatheredBytes,   // of kSendBytes: copies avoided
  kReceives,        // segments with frames
  kReceiveBytes,    // of frames
  kCreditSegments,  // sent for credits alone
  kCreditStalls,
  kQueueStalls,
  kBounceStalls,
  kReads,
  kReadBytes,
  kWrites,
  kWriteBytes,
  kBinds,
  kInvalidations,
  kRnrErrors,
  kRetryErrors,
  kFlushes,
  kOtherErrors,
  kAsyncEvents,
  kCount,
};

// What a worker, or a QP, has done. Written on its loop.
class RdmaCounters {
 public:
  RdmaCounters(PerfRegistry& registry, std::string name);
  void add(Count which, uint64_t amount = 1) noexcept {
    counters_[static_cast<std::size_t>(which)]->add(amount);
  }
  uint64_t value(Count which) const noexcept {
    return counters_[static_cast<std::size_t>(which)]->value();
  }

 private:
  PerfGroup group_;
  std::array<PerfCounter*, static_cast<std::size_t>(Count::kCount)> counters_;
};

// The counters of a QP and of its worker, which count the same things. A value; borrows both.
class LinkCounts {
 public:
  LinkCounts(RdmaCounters& of_qp, RdmaCounters& of_worker) noexcept
      : of_qp_(&of_qp), of_worker_(&of_worker) {}
  void add(Count which, uint64_t amount = 1) noexcept {
    of_qp_->add(which, amount);
    of_worker_->add(which, amount);
  }

 private:
  RdmaCounters* of_qp_;
  RdmaCounters* of_worker_;
};

}  // namespace lunar::msgr::rdma
