// SPDX-License-Identifier: LGPL-2.1-or-later
// The bench mode: measures one size, one depth and one access pattern on one LUN.
// Bound to its PollLoop's thread; borrows the LUN.
#pragma once

#include <functional>
#include <random>
#include <string>
#include <vector>

#include "tests/e2e/iscsi_load/latency_histogram.h"
#include "tests/e2e/iscsi_load/lun.h"

namespace lunar::iscsi_load {

struct BenchOptions {
  bool is_write = false;
  bool is_random = true;
  uint64_t op_bytes = 4096;
  uint32_t depth = 32;
  std::chrono::milliseconds warm_up{500};  // not counted
  std::chrono::milliseconds duration{0};   // exactly one of this and num_ops is not 0
  uint64_t num_ops = 0;                    // counted ops, after no warm-up
  uint64_t span_bytes = 0;                 // 0: the whole LUN
  uint64_t seed = 1;
  // After so many ops all in flight are waited for, and a SYNCHRONIZE CACHE of the whole LUN is
  // too; 0: never. It takes time, and is no op.
  uint64_t flush_every = 0;
};

struct BenchReport {
  std::string problem;  // empty for success
  uint64_t ops = 0;
  uint64_t bytes = 0;
  double seconds = 0;
  LatencyHistogram latency;
};

class BenchRun {
 public:
  BenchRun(PollLoop& loop, Lun& lun, BenchOptions options);

  // REQUIRES: the LUN is open.
  void start(std::function<void()> done);
  const BenchReport& report() const { return report_; }

 private:
  struct Slot {
    std::shared_ptr<Buffer> buffer;
    Clock::time_point submitted;
  };

  void issue(Slot& slot);
  void issue_all();
  void flush();
  void end();
  uint64_t next_lba();
  void answered(Slot& slot, const FinalCompletion& result);
  bool is_time_up(Clock::time_point now) const;

  PollLoop& loop_;
  Lun& lun_;
  const BenchOptions options_;
  std::function<void()> done_;
  std::mt19937_64 random_;
  std::vector<Slot> slots_;
  uint64_t num_positions_ = 0;  // op-sized places in the span
  uint64_t next_position_ = 0;
  uint64_t num_issued_ = 0;
  uint64_t num_unflushed_ = 0;  // of num_issued_
  uint32_t num_in_flight_ = 0;
  Clock::time_point counting_from_, counting_until_, last_counted_;
  BenchReport report_;
};

}  // namespace lunar::iscsi_load
