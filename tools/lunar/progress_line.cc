// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/progress_line.h"

#include <cstdio>

#include "common/visible_text.h"
#include "tools/lunar/command.h"

namespace lunar::tools {
namespace {

constexpr std::chrono::milliseconds kShowEvery{250};

std::string rest_text(double seconds) {
  const auto rest = static_cast<uint64_t>(seconds + 0.5);
  if (rest < 120) return std::to_string(rest) + " s left";
  if (rest < 7200) return std::to_string(rest / 60) + " min left";
  return std::to_string(rest / 3600) + " h left";
}

}  // namespace

std::string progress_text(const std::string& prefix, uint64_t done, uint64_t total,
                          std::chrono::nanoseconds elapsed, ProgressUnit unit) {
  const double seconds = std::chrono::duration<double>(elapsed).count();
  const double share = static_cast<double>(done) / static_cast<double>(total);
  std::string text = prefix + " " + std::to_string(static_cast<int>(share * 100)) + "%";
  if (seconds < 1 || done == 0 || done >= total) return text;
  const double rate = static_cast<double>(done) / seconds;
  if (unit == ProgressUnit::kBytes) text += ", " + size_text(static_cast<uint64_t>(rate)) + "/s";
  return text + ", " + rest_text(static_cast<double>(total - done) / rate);
}

ProgressLine::~ProgressLine() {
  if (!shown_.empty()) std::fputc('\n', stderr);
}

void ProgressLine::show(uint64_t done, uint64_t total) {
  if (!is_enabled_ || total == 0) return;
  const std::chrono::steady_clock::time_point now = std::chrono::steady_clock::now();
  if (done < total && !shown_.empty() && now - shown_at_ < kShowEvery) return;
  std::string text = progress_text(prefix_, done, total, now - began_, unit_);
  if (text == shown_) return;
  const std::size_t covers = shown_.size();  // what the longer text before has left
  shown_ = std::move(text);
  shown_at_ = now;
  const std::size_t blanks = covers > shown_.size() ? covers - shown_.size() : 0;
  std::fputc('\r', stderr);
  print_visible(stderr, "%s%*s", shown_.c_str(), static_cast<int>(blanks), "");
}

}  // namespace lunar::tools
