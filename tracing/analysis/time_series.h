// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <string>

#include "tracing/analysis/io_record.h"

namespace lunar::tracing {

// What went on in each stretch of a trace, for plots over time. All stretches are equally long, and
// they grow when there would be more than kMostPoints, so memory does not follow the length of the
// trace. Loop-bound; a value.
class TimeSeries {
 public:
  static constexpr int64_t kMostPoints = 160;
  static constexpr std::size_t kMostGroups = 24;

  // IOs that a reader may want to see apart. Those of a group too many go to the one without names.
  struct PlotGroup {
    std::string image;              // as label_of_image() says; empty: of no IO, or of any
    uint32_t process = UINT32_MAX;  // the gateway
    int64_t type = -1;              // LunarTraceIoType
    auto operator<=>(const PlotGroup&) const = default;
  };
  struct Point {
    uint64_t ios = 0, bytes = 0;  // of IOs that ended here
    uint64_t bytes_inline = 0, bytes_one_sided = 0;
    uint64_t busy_ns = 0;  // the sum of the parts of all IOs that are within
    uint64_t faults = 0;  // resends, replays, ops given up, errors, aborts; lost links and sessions
    std::map<uint64_t, uint64_t> latencies;  // ns, rounded up to 1/8 of itself -> IOs

    void add(const Point& other);
  };
  using Points = std::map<int64_t, Point>;  // by time / width_ns()

  // A command that did no IO, and what has no beginning or no end, is left out.
  void add(const IoRecord& io);
  // Of a link or session: it belongs to no IO.
  void add_fault(int64_t at);

  int64_t width_ns() const noexcept { return width_ns_; }
  const std::map<PlotGroup, Points>& groups() const noexcept { return groups_; }
  // The number of the first stretch, and how many there are; 0 if there is none.
  int64_t first() const noexcept { return first_; }
  int64_t count() const noexcept { return is_empty_ ? 0 : last_ - first_ + 1; }

 private:
  int64_t number_of(int64_t at) const noexcept;
  void cover(int64_t at);
  Points& group_of(PlotGroup key);

  int64_t width_ns_ = 1'000'000;
  int64_t first_ = 0, last_ = 0;
  bool is_empty_ = true;
  std::map<PlotGroup, Points> groups_;
};

}  // namespace lunar::tracing
