// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/crossover.h"

#include <algorithm>

namespace lunar::perf_msgr {
namespace {

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values.empty() ? 0 : values[values.size() / 2];
}

Outcome<double> rate_of(const Environment& environment, LoadOptions& options, const Job& job) {
  options.job = job;
  auto report = run_load(environment, options);
  if (!report) return failure(report.error());
  return report->seconds > 0 ? static_cast<double>(report->ops) / report->seconds : 0;
}

// The two ways take turns, so that what else the machine does meets both.
Outcome<CrossoverPoint> measure(const Environment& environment, LoadOptions& options,
                                uint32_t rounds, const Job& inlined, const Job& one_sided) {
  std::vector<double> inline_rates, one_sided_rates;
  for (uint32_t round = 0; round < rounds; ++round) {
    const auto with_data = rate_of(environment, options, inlined);
    if (!with_data) return failure(with_data.error());
    const auto by_key = rate_of(environment, options, one_sided);
    if (!by_key) return failure(by_key.error());
    inline_rates.push_back(*with_data);
    one_sided_rates.push_back(*by_key);
  }
  return CrossoverPoint{one_sided.bytes, median(inline_rates), median(one_sided_rates)};
}

}  // namespace

std::optional<uint32_t> winning_size(std::span<const CrossoverPoint> points) {
  std::optional<uint32_t> from;
  for (const CrossoverPoint& point : points) {
    if (point.one_sided_rate < point.inline_rate) {
      from.reset();
    } else if (!from) {
      from = point.bytes;
    }
  }
  return from;
}

Outcome<Crossover> find_crossover(const Environment& environment, LoadOptions options,
                                  const CrossoverOptions& range) {
  Crossover result;
  const uint32_t depth = options.job.depth;
  for (uint64_t bytes = range.min_bytes; bytes <= range.max_bytes; bytes *= 2) {
    const auto size = static_cast<uint32_t>(bytes);
    const auto written =
        measure(environment, options, range.rounds, {Pattern::kSend, size, 0, depth},
                {Pattern::kPull, size, 0, depth});
    if (!written) return failure(written.error());
    const auto read = measure(environment, options, range.rounds, {Pattern::kSend, 0, size, depth},
                              {Pattern::kPush, size, 0, depth});
    if (!read) return failure(read.error());
    result.write_io.push_back(*written);
    result.read_io.push_back(*read);
  }
  const auto write_from = winning_size(result.write_io);
  const auto read_from = winning_size(result.read_io);
  if (write_from && read_from) result.threshold = std::max(*write_from, *read_from);
  return result;
}

}  // namespace lunar::perf_msgr
