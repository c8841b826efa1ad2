// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <babeltrace2/babeltrace.h>

#include <string>

#include "common/result.h"
#include "tracing/analysis/clock_align.h"
#include "tracing/analysis/ctf_decoder.h"
#include "tracing/analysis/report.h"
#include "tracing/analysis/tracker.h"

namespace lunar::tracing {

// Where a report goes. Empty: not there.
struct ReportOutput {
  bool json = false;   // to stdout, instead of text
  std::string html;    // a file
  std::string chrome;  // a file
  std::string otlp;    // a file

  bool has_files() const noexcept { return !html.empty() || !chrome.empty() || !otlp.empty(); }
};

// Takes messages of libbabeltrace2 in order of time and makes a TraceReport of them. The engine of
// `lunar-trace report` and of the component class sink.lunar.report. Loop-bound.
class ReportSink {
 public:
  // `clocks` from a first pass over the same trace; null: what the keepalives have told so far is
  // applied as it comes, so events before the first one are not corrected.
  ReportSink(const TraceReport::Options& options, const ClockAlign* clocks);

  void take(const bt_message* message);
  TraceReport finish();

 private:
  CtfDecoder decoder_;
  const ClockAlign* const known_clocks_;
  ClockAlign learnt_clocks_;
  TraceReport report_;
  Tracker tracker_;
};

// Writes the files, and text or JSON (or, with io_id, the tree of that IO) to stdout. The error is
// a sentence: a file that cannot be written, an IO that is not in the trace.
Outcome<void> write_report(const TraceReport& report, const TraceReport::Options& options,
                           const ReportOutput& output);

}  // namespace lunar::tracing
