// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "common/random.h"

namespace lunar::msgr {

// How long to wait before the next attempt: doubling from `first` to `most`, each shortened at
// random by up to half, so that many clients of one server do not come back in step. Loop-bound.
class Backoff {
 public:
  // A seed makes the sequence repeatable; 0 takes one from the kernel.
  Backoff(std::chrono::nanoseconds first, std::chrono::nanoseconds most, uint64_t seed)
      : first_(std::max(first, std::chrono::nanoseconds(1))),
        most_(std::max(most, first_)),
        next_(first_),
        engine_(seeded_engine(seed)) {}

  // At most `limit`, in place of `most`, if that is shorter; it is shortened at random as well.
  std::chrono::nanoseconds next(std::chrono::nanoseconds limit = std::chrono::nanoseconds::max()) {
    const auto full = std::min(next_, limit);
    next_ = next_ > most_ / 2 ? most_ : next_ * 2;
    const auto half = full.count() / 2;
    return full - std::chrono::nanoseconds(
                      static_cast<int64_t>(engine_() % (static_cast<uint64_t>(half) + 1)));
  }
  // The next wait is the longest, for what will not get better by trying.
  void skip_to_longest() noexcept { next_ = most_; }
  void reset() noexcept { next_ = first_; }

 private:
  const std::chrono::nanoseconds first_;
  const std::chrono::nanoseconds most_;
  std::chrono::nanoseconds next_;
  RandomEngine engine_;
};

}  // namespace lunar::msgr
