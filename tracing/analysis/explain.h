// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <vector>

#include "tracing/analysis/report.h"

namespace lunar::tracing {

// "WRITE of 1 MiB at 12 MiB of disk1".
std::string title_of(const IoRecord& io);
// One sentence: what it was, how long it took, and where most of that went.
std::string explain(const IoRecord& io, const TraceReport& report);
// Servers whose ops take much longer than those of the others, a sentence each; slowest first.
struct SlowServer {
  int64_t osd = -1;
  std::string sentence;
};
std::vector<SlowServer> slow_servers(const TraceReport& report);
// Whether an extent that was large enough for one-sided delivery went inline all the same.
bool is_missed_one_sided(int64_t path, int64_t reason) noexcept;
// Links that went down and what their sessions did about it, a sentence each, in order of time.
std::vector<std::string> link_story(const TraceReport& report);
// "100 %" or what is missing, in one sentence.
std::string reconciliation_sentence(const TraceReport& report);
double reconciled_percent(const TraceReport& report);

}  // namespace lunar::tracing
