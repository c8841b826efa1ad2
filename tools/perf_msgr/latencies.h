// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace lunar::perf_msgr {

// Every duration that was measured; sorted when it is asked. Not thread-safe.
class Latencies {
 public:
  using Duration = std::chrono::nanoseconds;

  void add(Duration latency) { all_.push_back(latency); }
  void add(const Latencies& other) {
    all_.insert(all_.end(), other.all_.begin(), other.all_.end());
  }
  std::size_t count() const noexcept { return all_.size(); }

  // The smallest value that at least `fraction` of all do not exceed; zero if there are none.
  // REQUIRES: 0 <= fraction <= 1.
  Duration percentile(double fraction) {
    if (all_.empty()) return {};
    const auto rank =
        static_cast<std::size_t>(fraction * static_cast<double>(all_.size()) + 0.999999);
    const auto at =
        all_.begin() + static_cast<std::ptrdiff_t>(rank == 0 ? 0 : std::min(rank, all_.size()) - 1);
    std::nth_element(all_.begin(), at, all_.end());
    return *at;
  }
  Duration mean() const {
    Duration sum{};
    for (const Duration each : all_) sum += each;
    return all_.empty() ? sum : sum / static_cast<Duration::rep>(all_.size());
  }

 private:
  std::vector<Duration> all_;
};

}  // namespace lunar::perf_msgr
