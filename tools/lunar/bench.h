// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <system_error>
#include <vector>

#include "common/perf_counters.h"
#include "common/random.h"
#include "gateway/image.h"
#include "tools/lunar/cluster_handle.h"
#include "tools/lunar/progress_line.h"

namespace lunar::tools {

struct BenchOptions {
  uint32_t read_percent = 0;    // of the IOs; the rest writes
  bool is_random = false;       // else one place after the other
  uint64_t io_size = 4096;      // bytes, from 1 to the image's size
  uint64_t total = 256u << 20;  // bytes
  uint32_t depth = 16;          // IOs in flight
  uint64_t seed = 1;            // of places and data

  bool is_reading() const noexcept { return read_percent == 100; }  // and nothing else
};

// IOs of one size on one image, so many at a time. Their data lies in registered memory where there
// is some, as a gateway's does. Once: prepare(), run(), then the results. Single-threaded. Borrows
// everything.
class Bench {
 public:
  Bench(ClusterHandle& cluster, gateway::Image& image, const BenchOptions& options,
        const PerfRegistry& perf, ProgressLine& line);

  void prepare();         // memory and its contents
  std::error_code run();  // an error: of the first IO that failed. StopSignals end it early
  nlohmann::json report() const;
  std::string text() const;

 private:
  struct InFlightIo {
    msgr::RegisteredBuffer lease;
    std::vector<std::byte> plain;  // without a lease
    Bytes data;                    // of one of them
    std::chrono::steady_clock::time_point submitted;
  };

  std::size_t io_size() const { return static_cast<std::size_t>(options_.io_size); }
  uint64_t wanted() const { return std::max<uint64_t>(1, options_.total / options_.io_size); }
  bool take_registered();
  void wait_for_registered();
  bool is_next_read();
  void submit(InFlightIo& io);
  void on_done(InFlightIo& io, const gateway::IoResult& result);
  double percentile_us(double p) const;
  double per_second(double amount) const { return amount / seconds_; }
  double bytes() const;

  ClusterHandle& cluster_;
  gateway::Image& image_;
  const BenchOptions options_;
  const PerfRegistry& perf_;
  ProgressLine& line_;
  nlohmann::json perf_before_;
  RandomEngine engine_;
  std::vector<InFlightIo> ios_;
  uint64_t submitted_ = 0;
  uint64_t in_flight_ = 0;
  uint64_t reads_ = 0;                                          // submitted
  std::vector<std::chrono::steady_clock::duration> latencies_;  // sorted once it is over
  double seconds_ = 0;
  uint64_t bytes_inline_ = 0;
  uint64_t bytes_one_sided_ = 0;
  std::error_code error_;
};

}  // namespace lunar::tools
