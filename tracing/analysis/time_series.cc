// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/time_series.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace lunar::tracing {
namespace {

// Rounded towards minus infinity. REQUIRES: by > 0.
int64_t quotient(int64_t number, int64_t by) noexcept {
  return number / by - (number % by < 0 ? 1 : 0);
}

// A trace may say any time; what is none of our era has no place in a plot.
bool is_plottable(int64_t at) noexcept { return at >= 0 && at < INT64_MAX / 2; }

uint64_t rounded_up(uint64_t value) noexcept {
  const int shift = std::max<int>(static_cast<int>(std::bit_width(value)) - 4, 0);
  return value | ((uint64_t{1} << shift) - 1);
}

uint64_t faults_of(const IoRecord& io) {
  uint64_t faults = uint64_t{io.resends()} + io.replays();
  if (io.cmd_aborted != kNever) ++faults;
  for (const OpRecord& op : io.ops) {
    if (op.cancelled != kNever) ++faults;
  }
  for (const ImageIo& each : io.ios) {
    if (each.error != 0) ++faults;
  }
  return faults;
}

}  // namespace

void TimeSeries::Point::add(const Point& other) {
  ios += other.ios;
  bytes += other.bytes;
  bytes_inline += other.bytes_inline;
  bytes_one_sided += other.bytes_one_sided;
  busy_ns += other.busy_ns;
  faults += other.faults;
  for (const auto& [ns, count] : other.latencies) latencies[ns] += count;
}

int64_t TimeSeries::number_of(int64_t at) const noexcept { return quotient(at, width_ns_); }

void TimeSeries::cover(int64_t at) {
  const int64_t number = number_of(at);
  first_ = is_empty_ ? number : std::min(first_, number);
  last_ = is_empty_ ? number : std::max(last_, number);
  is_empty_ = false;
  while (count() > kMostPoints) {
    width_ns_ *= 2;
    first_ = quotient(first_, 2);
    last_ = quotient(last_, 2);
    for (auto& [key, points] : groups_) {
      Points wider;
      for (const auto& [narrow, point] : points) wider[quotient(narrow, 2)].add(point);
      points = std::move(wider);
    }
  }
}

TimeSeries::Points& TimeSeries::group_of(PlotGroup key) {
  const auto found = groups_.find(key);
  if (found != groups_.end()) return found->second;
  return groups_[groups_.size() < kMostGroups ? std::move(key) : PlotGroup()];
}

void TimeSeries::add(const IoRecord& io) {
  const int64_t began = io.began();
  const int64_t ended = std::max(io.ended(), began);
  if (io.ios.empty()) return;
  if (!is_plottable(began) || !is_plottable(io.ended()) || !is_plottable(ended)) return;
  cover(began);
  cover(ended);
  Points& points = group_of({label_of_image(io), io.process, io.ios[0].type});
  for (int64_t number = number_of(began); number <= number_of(ended); ++number) {
    const int64_t from = std::max(began, number * width_ns_);
    points[number].busy_ns += static_cast<uint64_t>(std::min(ended - from, width_ns_));
  }
  Point& point = points[number_of(ended)];
  ++point.ios;
  ++point.latencies[rounded_up(static_cast<uint64_t>(ended - began))];
  point.faults += faults_of(io);
  for (const ImageIo& each : io.ios) point.bytes += static_cast<uint64_t>(each.length);
  for (const OpRecord& op : io.ops) {
    for (const Attempt& each : op.attempts) {
      point.bytes_inline += static_cast<uint64_t>(each.bytes_inline);
      point.bytes_one_sided += static_cast<uint64_t>(each.bytes_one_sided);
    }
  }
}

void TimeSeries::add_fault(int64_t at) {
  if (!is_plottable(at)) return;
  cover(at);
  ++group_of({})[number_of(at)].faults;
}

}  // namespace lunar::tracing
