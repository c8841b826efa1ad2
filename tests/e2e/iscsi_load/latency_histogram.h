// SPDX-License-Identifier: LGPL-2.1-or-later
// Durations counted in buckets that are at most 1/32 of their value wide, from 1 ns up.
// Pure. Not thread-safe. Fixed size, no allocation when recording.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>

namespace lunar::iscsi_load {

class LatencyHistogram {
 public:
  void record(std::chrono::nanoseconds latency) {
    uint64_t value = static_cast<uint64_t>(std::max<int64_t>(latency.count(), 0));
    ++counts_[bucket_of(value)];
    ++total_;
    sum_ += value;
    max_ = std::max(max_, value);
  }

  uint64_t count() const { return total_; }
  std::chrono::nanoseconds max() const { return std::chrono::nanoseconds(max_); }
  std::chrono::nanoseconds mean() const {
    return std::chrono::nanoseconds(total_ == 0 ? 0 : sum_ / total_);
  }

  // The upper edge of the bucket that holds the value of that rank; 0 ns if nothing was recorded.
  // REQUIRES: 0 < fraction ≤ 1.
  std::chrono::nanoseconds percentile(double fraction) const {
    auto rank = static_cast<uint64_t>(std::ceil(fraction * static_cast<double>(total_)));
    uint64_t seen = 0;
    for (size_t i = 0; i < counts_.size() && total_ > 0; ++i) {
      seen += counts_[i];
      if (seen >= rank) return std::chrono::nanoseconds(std::min(upper_edge(i), max_));
    }
    return std::chrono::nanoseconds(0);
  }

 private:
  static constexpr int kSubBits = 5;
  static constexpr uint64_t kSub = 1 << kSubBits;  // buckets per power of two

  // Values below kSub have a bucket each; above, the top kSubBits + 1 bits choose it.
  static size_t bucket_of(uint64_t value) {
    if (value < kSub) return value;
    int shift = std::bit_width(value) - (kSubBits + 1);
    return (static_cast<uint64_t>(shift) << kSubBits) + (value >> shift);
  }
  static uint64_t upper_edge(size_t bucket) {
    if (bucket < kSub) return bucket;
    int shift = static_cast<int>(bucket >> kSubBits) - 1;
    uint64_t top = (bucket & (kSub - 1)) + kSub;
    return ((top + 1) << shift) - 1;
  }

  std::array<uint64_t, kSub*(64 - kSubBits + 1)> counts_{};
  uint64_t total_ = 0;
  uint64_t sum_ = 0;
  uint64_t max_ = 0;
};

}  // namespace lunar::iscsi_load
