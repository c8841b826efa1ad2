// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <nlohmann/json.hpp>
#include <vector>

#include "tracing/analysis/report.h"

namespace lunar::tracing {

// One IO with its ops and stations; times in ns after `zero`.
nlohmann::ordered_json json_of(const IoRecord& io, const TraceReport& report, int64_t zero);
nlohmann::ordered_json json_of(const TraceReport& report);
// The slowest and the sampled IOs, each once, by time.
std::vector<const IoRecord*> shown_ios(const TraceReport& report);

}  // namespace lunar::tracing
