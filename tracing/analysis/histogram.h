// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <vector>

namespace lunar::tracing {

// Counts of values (ns, bytes) in buckets of 1/64 of their size: percentiles to 1.6 %, the maximum
// exactly, in 30 KiB however many values. Loop-bound; a value.
class Histogram {
 public:
  void add(uint64_t value) {
    if (buckets_.empty()) buckets_.resize(kBuckets);
    ++buckets_[bucket_of(value)];
    ++count_;
    sum_ += value;
    max_ = std::max(max_, value);
  }
  uint64_t count() const noexcept { return count_; }
  uint64_t sum() const noexcept { return sum_; }
  uint64_t max() const noexcept { return max_; }
  uint64_t mean() const noexcept { return count_ == 0 ? 0 : sum_ / count_; }
  // The value that `fraction` (0..1) of the values do not exceed: its bucket's upper end, at most
  // max().
  uint64_t percentile(double fraction) const noexcept {
    if (count_ == 0) return 0;
    const auto rank = static_cast<uint64_t>(fraction * static_cast<double>(count_ - 1));
    uint64_t seen = 0;
    for (std::size_t i = 0; i < buckets_.size(); ++i) {
      seen += buckets_[i];
      if (seen > rank) return std::min(max_, upper_end(i));
    }
    return max_;
  }

 private:
  static constexpr int kBits = 6;
  static constexpr std::size_t kSub = 1u << kBits;
  static constexpr std::size_t kBuckets = (64 - kBits + 1) * kSub;

  static std::size_t bucket_of(uint64_t value) noexcept {
    if (value < kSub) return value;
    const int shift = std::bit_width(value) - 1 - kBits;
    return (static_cast<std::size_t>(shift) + 1) * kSub + ((value >> shift) - kSub);
  }
  static uint64_t upper_end(std::size_t bucket) noexcept {
    if (bucket < 2 * kSub) return bucket;
    const std::size_t shift = bucket / kSub - 1;
    return (((bucket % kSub) + kSub + 1) << shift) - 1;
  }

  std::vector<uint64_t> buckets_;
  uint64_t count_ = 0, sum_ = 0, max_ = 0;
};

}  // namespace lunar::tracing
