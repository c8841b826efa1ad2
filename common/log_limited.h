// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <cstdint>

#include "common/log.h"

namespace lunar {

// How often one place logs what others cause: so many lines in each period; how many were left out
// is said with the next one. Periods are those of the monotonic clock, the same for all places; two
// of them that meet can give twice as many lines. Thread-safe: two threads that come at the same
// time may log a line more. Costs a clock and an atomic addition.
class LogLimit {
 public:
  // A person who looks at the log sees what kind of thing happens; counters say how often.
  static constexpr uint32_t kLines = 10;  // per period
  static constexpr int64_t kPeriodSeconds = 10;

  // Whether the line may be logged. `left_out`: how many were not since the last one that was; only
  // set with true.
  bool allows(uint32_t& left_out) noexcept;

 private:
  std::atomic<int64_t> period_{-1};  // that is being counted
  std::atomic<uint32_t> lines_{0};   // in it
  std::atomic<uint32_t> left_out_{0};
};

}  // namespace lunar

// The way to use it:
//   LUNAR_LOG_LIMITED(kMs, 0, "link from {} refused: {}", peer, why);
// LUNAR_LOG for what somebody outside causes, as often as he likes: wrong keys, messages that
// cannot be read, clients that are refused. Each place in the source has a limit of its own, so a
// flood of one kind hides no other. Lines that are not wanted at the level that is set count too.
#define LUNAR_LOG_LIMITED(subsystem, level, ...)                                                 \
  do {                                                                                           \
    static ::lunar::LogLimit lunar_log_limit;                                                    \
    uint32_t lunar_left_out = 0;                                                                 \
    if (lunar_log_limit.allows(lunar_left_out)) {                                                \
      if (lunar_left_out != 0)                                                                   \
        LUNAR_LOG(subsystem, level, "{} lines like the next one were left out", lunar_left_out); \
      LUNAR_LOG(subsystem, level, __VA_ARGS__);                                                  \
    }                                                                                            \
  } while (false)
