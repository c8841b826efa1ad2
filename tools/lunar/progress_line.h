// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace lunar::tools {

enum class ProgressUnit { kBytes, kThings };  // a rate is shown of bytes only

// "importing 42%, 118.50 MiB/s, 12 s left": the rest at the pace since the start. Without rate and
// time in the first second, which says nothing of them, and at the end. Pure.
std::string progress_text(const std::string& prefix, uint64_t done, uint64_t total,
                          std::chrono::nanoseconds elapsed, ProgressUnit unit);

// Shows that text on one line of stderr while work goes on; a newline when it is destroyed after
// output. Not thread-safe.
class ProgressLine {
 public:
  ProgressLine(std::string prefix, bool is_enabled, ProgressUnit unit = ProgressUnit::kThings)
      : prefix_(std::move(prefix)), is_enabled_(is_enabled), unit_(unit) {}
  ~ProgressLine();
  void show(uint64_t done, uint64_t total);

 private:
  const std::string prefix_;
  const bool is_enabled_;
  const ProgressUnit unit_;
  const std::chrono::steady_clock::time_point began_ = std::chrono::steady_clock::now();
  std::chrono::steady_clock::time_point shown_at_;
  std::string shown_;  // empty before the first
};

}  // namespace lunar::tools
