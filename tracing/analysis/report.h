// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tracing/analysis/clock_align.h"
#include "tracing/analysis/histogram.h"
#include "tracing/analysis/io_filter.h"
#include "tracing/analysis/io_record.h"
#include "tracing/analysis/stages.h"
#include "tracing/analysis/time_series.h"

namespace lunar::tracing {

// Something that happened to a connection or a map, and is not part of an IO.
struct Incident {
  int64_t at = 0;
  uint32_t process = 0;
  EventKind kind = EventKind::kLinkUp;
  uint64_t conn = 0;
  int64_t number = 0;  // error, messages, generation or epoch
  std::string peer;
};

// Events that LTTng threw away because a buffer was full.
struct Loss {
  uint64_t events = 0;
  uint64_t packets = 0;
  int64_t begin = kNever, end = kNever;  // kNever: not known
  std::string where;                     // host and CPU
};

struct OsdStats {
  Histogram round_trip;  // request sent -> reply arrived
  Histogram inside;      // op_received -> op_replied
  Histogram store;
  std::array<uint64_t, kStages> stage_ns{};
  uint64_t ops = 0, attempts = 0, replays = 0, resends = 0, timeouts = 0, errors = 0;
};

struct PathShare {
  uint64_t extents = 0, bytes = 0;
  std::vector<std::pair<int64_t, uint64_t>> examples;  // the largest: bytes, io_id
};

// Which IOs have all of their events.
struct Reconciliation {
  uint64_t whole = 0;         // began and ended in the trace, nothing missing
  uint64_t cut_at_start = 0;  // under way when recording began
  uint64_t cut_at_end = 0;    // under way when it ended
  uint64_t incomplete = 0;    // events are missing in the middle
  uint64_t ops = 0, ops_whole = 0;
  uint64_t metadata_ops = 0;                               // of no IO: image headers, directories
  uint64_t server_only = 0;                                // io_ids that only servers recorded
  std::vector<std::pair<uint64_t, std::string>> examples;  // io_id, what is missing

  uint64_t within() const noexcept { return whole + incomplete; }
  uint64_t ios() const noexcept { return within() + cut_at_start + cut_at_end; }
};

// What a trace comes to. Fed with one IO at a time and keeps none but the slowest and a sample, so
// its memory does not grow with the trace. Loop-bound.
class TraceReport {
 public:
  struct Options {
    std::size_t slowest = 10;
    std::optional<uint64_t> io_id;  // keep this one
    std::size_t sample = 0;         // keep so many others, evenly chosen, for a timeline
    IoFilter filter;                // be about these IOs only
  };
  struct TypeStats {
    Histogram latency;
    uint64_t ios = 0, bytes = 0, errors = 0;
    std::map<uint64_t, uint64_t> sizes;  // size rounded up to a power of two -> IOs
  };

  explicit TraceReport(const Options& options) : options_(options), random_(1) {}

  void add_event(const TraceEvent& event);  // every one, before the Tracker has it
  void add_loss(Loss loss);
  void add(IoRecord io);
  // An IO that is none of options.filter: only the names of processes are learnt from it.
  void skip(const IoRecord& io);
  // The trace is over.
  void finish(Processes processes, const ClockAlign& clocks);

  Options options_;
  // --- the results, after finish() ---
  Processes processes;
  std::vector<ClockAlign::Estimate> clocks;
  std::string reference_host;
  std::array<uint64_t, kEventKinds> events{};
  uint64_t total_events = 0, foreign_events = 0;
  int64_t begin = kNever, end = kNever;

  uint64_t lost_events = 0, lost_packets = 0;
  std::vector<Loss> losses;  // the first 100
  Reconciliation reconciliation;

  Histogram commands, ops;
  uint64_t command_errors = 0, aborts = 0;
  std::map<int64_t, TypeStats> types;  // by LunarTraceIoType
  std::array<Histogram, kStages> stages;
  std::map<int64_t, OsdStats> servers;                    // by OSD id
  std::map<int64_t, std::map<int64_t, uint64_t>> splits;  // reason -> extents -> IOs
  uint64_t extents = 0;
  std::map<std::pair<int64_t, int64_t>, PathShare> paths;       // (path, reason), as decided
  std::map<std::pair<int64_t, int64_t>, PathShare> deliveries;  // as really sent, per attempt
  uint64_t bytes_inline = 0, bytes_one_sided = 0;               // as the replies say
  Histogram pulls, pushes;                                      // of one fragment
  uint64_t fragment_errors = 0;
  std::map<int64_t, uint64_t> waits, resends, cancels;  // by reason
  uint64_t replays = 0;
  Histogram credit_waits;
  std::vector<Incident> incidents;  // the first 1000
  uint64_t incident_count = 0;

  uint64_t skipped = 0;  // IOs that options.filter left out
  TimeSeries series;
  std::vector<IoRecord> slowest;  // slowest first
  std::vector<IoRecord> sample;   // by time
  std::optional<IoRecord> wanted;

 private:
  void add_op(const IoRecord& io, const OpRecord& op);
  void add_extents(const IoRecord& io);
  void reconcile(const IoRecord& io);
  void name_processes(const IoRecord& io);
  void keep(IoRecord io);
  static void add_example(PathShare& share, int64_t bytes, uint64_t io_id);

  std::map<uint32_t, int64_t> osd_of_process_;
  std::map<uint32_t, bool> gateways_;
  std::minstd_rand random_;
  uint64_t seen_ = 0;
};

}  // namespace lunar::tracing
