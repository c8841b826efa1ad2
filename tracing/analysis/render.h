// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "tracing/analysis/report.h"

namespace lunar::tracing {

// The forms of a finished report. Pure.

// For a terminal: losses first, then reconciliation, latencies, servers, splits, paths, slowest
// IOs.
std::string render_text(const TraceReport& report);
// Of one IO: every event as a tree, command, IO, ops, attempts, stations.
std::string render_tree(const IoRecord& io, const TraceReport& report);
// The same facts for programs; its "format" is 1 and grows with every change that breaks a reader.
std::string render_json(const TraceReport& report);
// One page that needs nothing from elsewhere: the summary, and a timeline of slowest and sampled
// IOs.
std::string render_html(const TraceReport& report);
// Trace Event Format, for Perfetto and chrome://tracing: slowest and sampled IOs.
std::string render_chrome(const TraceReport& report);
// OTLP/JSON, one ExportTraceServiceRequest on a line: slowest and sampled IOs, each a trace.
std::string render_otlp(const TraceReport& report);

}  // namespace lunar::tracing
