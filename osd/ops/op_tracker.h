// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>

#include "common/perf_counters.h"
#include "osd/ops/client_op.h"

namespace lunar::osd {

// Counts ops and remembers which are under way and which were slowest, for the admin socket and the
// log, by Ceph's names.
// Loop-bound. Borrows the registry.
class OpTracker {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Options {
    std::size_t history_size = 20;
    std::chrono::nanoseconds history_duration{std::chrono::minutes(10)};
    std::chrono::nanoseconds complaint_time{std::chrono::seconds(30)};
  };
  OpTracker(PerfRegistry& perf, Options options);

  void set_options(Options options) { options_ = options; }
  void on_arrived(const ClientOpRef& op);
  // The op has ended, or was dropped.
  void on_ended(const ClientOp& op, OsdErrc error, std::size_t data_bytes, TimePoint now);
  // For ReplyMessage.
  PerfCounter& reads_again() noexcept { return reads_again_; }
  // Logs each op that has become slow since the last call. Returns how many are slow now.
  std::size_t complain(TimePoint now);

  std::string in_flight_json(TimePoint now) const;
  std::string historic_json(TimePoint now) const;

 private:
  struct EndedOp {
    std::string description;
    OsdErrc error;
    std::chrono::nanoseconds duration;
    TimePoint ended;
  };
  struct Entry {
    std::weak_ptr<const ClientOp> op;
    bool has_complained = false;
  };

  void remember(const ClientOp& op, OsdErrc error, std::chrono::nanoseconds took, TimePoint now);

  Options options_;
  std::unordered_map<const ClientOp*, Entry> ops_;
  std::deque<EndedOp> history_;  // slowest first

  PerfGroup perf_;
  PerfCounter& op_;
  PerfCounter& op_in_bytes_;
  PerfCounter& op_out_bytes_;
  PerfTimeAverage& op_latency_;
  PerfHistogram& op_latency_histogram_;
  PerfCounter& op_r_;
  PerfCounter& op_r_out_bytes_;
  PerfTimeAverage& op_r_latency_;
  PerfCounter& op_w_;
  PerfCounter& op_w_in_bytes_;
  PerfTimeAverage& op_w_latency_;
  PerfCounter& op_flush_;
  PerfTimeAverage& op_flush_latency_;
  PerfCounter& op_error_;
  PerfCounter& reads_again_;
  PerfGauge& op_wip_;
};

// "osd_op(client.a/host tid 7 pool 1 pg 3 object write 4096@0 …)": for people.
std::string describe(const ClientOp& op);

}  // namespace lunar::osd
