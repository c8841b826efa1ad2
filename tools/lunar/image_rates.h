// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "gateway/image_counts.h"

namespace lunar::tools {

// What is done with an image per second, by all who have it open. A value.
struct ImageRates {
  double write_ops = 0;
  double read_ops = 0;
  double write_bytes = 0;
  double read_bytes = 0;
  double write_latency = 0;  // mean, ns; 0 if nothing was written
  double read_latency = 0;

  // By a name of --sort-by, as rbd has them: "write-ops". REQUIRES: it is one of kSortNames.
  double value_of(std::string_view name) const noexcept;
};
inline constexpr const char* kSortNames[] = {"write-ops",  "read-ops",      "write-bytes",
                                             "read-bytes", "write-latency", "read-latency"};

// The rates of one image between two times that its holders were asked. Who had not answered before
// counts from the next time on. Not thread-safe.
class RateMeter {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Takes what they answered at `now`, and returns the rates since they answered last.
  ImageRates add(const std::vector<gateway::HolderCounts>& holders, TimePoint now);

 private:
  struct HolderSample {
    gateway::ImageCounts counts;
    TimePoint at;
  };
  std::map<objecter::ClientIdentity, HolderSample>
      samples_;  // the last one of each who still has it open
};

// "1.5 KiB/s", "12/s", "3.25 ms": columns of iostat. Pure.
std::string bytes_per_second(double bytes);
std::string per_second(double count);
std::string latency_text(double nanoseconds);

}  // namespace lunar::tools
