// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "tracing/analysis/event.h"

namespace lunar::tracing {

// How far the clocks of the hosts of a trace are apart, from the messenger's keepalives. A frame
// that one process sent and another received tells which connections are two ends of one; a
// keepalive of such a connection measures the difference of the two clocks, wrong by at most half
// its round trip, so the quickest one of each stretch of time counts. Loop-bound; a value.
class ClockAlign {
 public:
  struct Estimate {
    std::string host;
    int64_t offset_ns = 0;  // its clock minus the reference's, at the middle of the trace
    int64_t error_ns =
        0;  // at most, if the way there takes as long as the way back; else up to twice
    uint64_t samples = 0;
    bool is_known = false;
  };

  // First pass: every event of the trace.
  void add(const TraceEvent& event, const Processes& processes);
  // Between the passes. The reference is the host that takes SCSI commands, else one that sends
  // ops.
  void solve(const Processes& processes);

  // Second pass: what to subtract from a time of that process to have the reference's clock.
  int64_t offset_of(uint32_t process, int64_t time_ns) const noexcept;
  // The largest offset, without its sign.
  int64_t largest() const noexcept { return largest_; }
  const std::string& reference() const noexcept { return reference_; }
  std::vector<Estimate> estimates() const;

 private:
  struct Sample {
    int64_t at = 0, offset_ns = 0, rtt_ns = 0;
  };
  using Curve = std::vector<Sample>;  // by time
  struct LinkEnd {
    uint32_t process = 0;
    uint64_t conn = 0;
    auto operator<=>(const LinkEnd&) const = default;
  };
  struct FrameKey {
    uint64_t io_id, tid;
    int64_t type, seq;
    auto operator<=>(const FrameKey&) const = default;
  };
  struct FrameEnd {
    LinkEnd end;
    bool is_sent = false;
  };
  struct HostClock {
    Curve curve;
    uint64_t samples = 0;
  };

  void add_sample(const std::string& from, const std::string& to, Sample sample);
  static int64_t at(const Curve& curve, int64_t time_ns) noexcept;

  std::map<FrameKey, FrameEnd> frames_;  // seen at one end only
  std::map<LinkEnd, LinkEnd> peer_;
  std::map<LinkEnd, std::vector<Sample>> unpaired_;
  std::map<std::pair<std::string, std::string>, HostClock> pairs_;  // (from, to): to minus from
  std::map<std::string, HostClock> hosts_;                          // to the reference
  std::vector<const HostClock*> by_process_;
  std::string reference_;
  int64_t largest_ = 0;
};

}  // namespace lunar::tracing
