// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/image_rates.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "common/check.h"
#include "tools/lunar/command.h"

namespace lunar::tools {
namespace {

using gateway::ImageCounts;

double seconds_of(std::chrono::nanoseconds time) {
  return std::chrono::duration<double>(time).count();
}

// Counters only grow; one that did not is of another open, whose beginning is not known.
bool has_grown(const ImageCounts& from, const ImageCounts& to) {
  return to.reads >= from.reads && to.read_bytes >= from.read_bytes &&
         to.read_time >= from.read_time && to.writes >= from.writes &&
         to.write_bytes >= from.write_bytes && to.write_time >= from.write_time;
}

// Sums that means are made of.
struct LatencySum {
  double nanoseconds = 0;
  double count = 0;
  void add(std::chrono::nanoseconds time, uint64_t number) {
    nanoseconds += static_cast<double>(time.count());
    count += static_cast<double>(number);
  }
  double mean() const { return count == 0 ? 0 : nanoseconds / count; }
};

}  // namespace

double ImageRates::value_of(std::string_view name) const noexcept {
  const double values[] = {write_ops,  read_ops,      write_bytes,
                           read_bytes, write_latency, read_latency};
  for (std::size_t i = 0; i < std::size(kSortNames); ++i) {
    if (name == kSortNames[i]) return values[i];
  }
  LUNAR_CHECK(false, "no such rate");
}

ImageRates RateMeter::add(const std::vector<gateway::HolderCounts>& holders, TimePoint now) {
  ImageRates rates;
  LatencySum reads;
  LatencySum writes;
  std::map<objecter::ClientIdentity, HolderSample> samples;
  for (const gateway::HolderCounts& holder : holders) {
    const auto before = samples_.find(holder.client);
    if (!holder.counts) {  // the next answer counts from the last one on
      if (before != samples_.end()) samples.insert(*before);
      continue;
    }
    const ImageCounts& to = *holder.counts;
    samples[holder.client] = {to, now};
    if (before == samples_.end() || !has_grown(before->second.counts, to)) continue;
    const ImageCounts& from = before->second.counts;
    const double seconds = seconds_of(now - before->second.at);
    if (seconds <= 0) continue;
    rates.write_ops += static_cast<double>(to.writes - from.writes) / seconds;
    rates.read_ops += static_cast<double>(to.reads - from.reads) / seconds;
    rates.write_bytes += static_cast<double>(to.write_bytes - from.write_bytes) / seconds;
    rates.read_bytes += static_cast<double>(to.read_bytes - from.read_bytes) / seconds;
    writes.add(to.write_time - from.write_time, to.writes - from.writes);
    reads.add(to.read_time - from.read_time, to.reads - from.reads);
  }
  rates.write_latency = writes.mean();
  rates.read_latency = reads.mean();
  samples_ = std::move(samples);
  return rates;
}

std::string bytes_per_second(double bytes) {
  constexpr double kMost = 1e18;  // whatever a holder has said
  return size_text(static_cast<uint64_t>(std::clamp(bytes + 0.5, 0.0, kMost))) + "/s";
}

std::string per_second(double count) { return fmt::format("{:.0f}/s", count); }

std::string latency_text(double nanoseconds) {
  static constexpr const char* kUnits[] = {"ns", "us", "ms", "s"};
  std::size_t unit = 0;
  while (nanoseconds >= 1000 && unit + 1 < std::size(kUnits)) {
    nanoseconds /= 1000;
    ++unit;
  }
  return fmt::format("{:.2f} {}", nanoseconds, kUnits[unit]);
}

}  // namespace lunar::tools
