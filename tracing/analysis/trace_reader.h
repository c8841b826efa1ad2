// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "tracing/analysis/report.h"

namespace lunar::tracing {

// The folders below (and including) those given that hold a CTF trace: they have a file "metadata".
// Sorted. A sentence if there is none.
Outcome<std::vector<std::string>> find_traces(const std::vector<std::string>& folders);

// Reads all traces below the folders as one and reports on it. With traces of several hosts it
// reads twice: first for what keepalives tell about their clocks. The sentence is libbabeltrace2's
// own where it fails.
Outcome<TraceReport> read_report(const std::vector<std::string>& folders,
                                 const TraceReport::Options& options);

}  // namespace lunar::tracing
