// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <algorithm>
#include <cstdint>

namespace lunar::bstore_plugin {

// Which writes of a LUN were answered as a cache may answer them (WCE=1), and have been written
// back since. While the caching page says WCE=0 nobody sends SYNCHRONIZE CACHE, so what is left of
// them has to be durable before a change of the medium is answered. Not thread-safe; a value.
class CachedWrites {
 public:
  // A write begins that need not be durable when it is answered.
  void on_write() noexcept { ++last_; }
  // For a write-back that begins now; it covers all writes so far, if it waits for those in flight.
  uint64_t last() const noexcept { return last_; }
  // A write-back that began at that last() has succeeded.
  void on_written_back(uint64_t last) noexcept { written_back_ = std::max(written_back_, last); }
  bool are_written_back() const noexcept { return written_back_ == last_; }

 private:
  uint64_t last_ = 1;  // what was written before the LUN was opened is the first
  uint64_t written_back_ = 0;
};

}  // namespace lunar::bstore_plugin
