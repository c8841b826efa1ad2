// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/report_sink.h"

#include <cerrno>
#include <cstdio>
#include <utility>

#include "common/visible_text.h"
#include "tracing/analysis/render.h"

namespace lunar::tracing {
namespace {

// Clocks of hosts are apart by this much at most for IOs to be put together right.
int64_t linger_for(const ClockAlign* clocks) {
  constexpr int64_t kQuarterSecond = 250'000'000;
  return clocks == nullptr ? kQuarterSecond : kQuarterSecond + 2 * clocks->largest();
}

Outcome<void> write_file(const std::string& path, const std::string& text) {
  std::FILE* file = std::fopen(path.c_str(), "w");
  bool ok = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  const int wrote = errno;
  if (file != nullptr && std::fclose(file) != 0) ok = false;
  if (ok) return {};
  const std::error_code error(file == nullptr ? wrote : errno, std::system_category());
  return failure(error, path + " cannot be written: " + error.message());
}

}  // namespace

ReportSink::ReportSink(const TraceReport::Options& options, const ClockAlign* clocks)
    : known_clocks_(clocks),
      report_(options),
      tracker_({.linger_ns = linger_for(clocks)}, [this, filter = options.filter](IoRecord&& io) {
        if (filter.accepts(io, decoder_.processes(), report_.begin)) {
          report_.add(std::move(io));
        } else {
          report_.skip(io);
        }
      }) {}

void ReportSink::take(const bt_message* message) {
  const bt_message_type type = bt_message_get_type(message);
  if (type != BT_MESSAGE_TYPE_EVENT) {
    if (auto loss = decoder_.loss(message)) report_.add_loss(std::move(*loss));
    return;
  }
  std::optional<TraceEvent> event = decoder_.decode(message);
  if (!event) return;
  const Processes& processes = decoder_.processes();
  if (known_clocks_ != nullptr) {
    event->time_ns -= known_clocks_->offset_of(event->process, event->time_ns);
  } else {
    learnt_clocks_.add(*event, processes);
    if (event->kind == EventKind::kKeepalive) learnt_clocks_.solve(processes);
    event->time_ns -= learnt_clocks_.offset_of(event->process, event->time_ns);
  }
  report_.add_event(*event);
  tracker_.add(*event);
}

TraceReport ReportSink::finish() {
  tracker_.finish();
  if (known_clocks_ == nullptr) learnt_clocks_.solve(decoder_.processes());
  report_.foreign_events = decoder_.foreign_events();
  report_.finish(decoder_.processes(), known_clocks_ != nullptr ? *known_clocks_ : learnt_clocks_);
  return std::move(report_);
}

Outcome<void> write_report(const TraceReport& report, const TraceReport::Options& options,
                           const ReportOutput& output) {
  if (options.io_id && !report.wanted) {
    return failure(std::errc::no_such_file_or_directory,
                   "no IO " + id_text(*options.io_id) + " is in the trace");
  }
  if (options.filter.is_set() && report.reconciliation.ios() == 0) {
    return failure(std::errc::no_such_file_or_directory,
                   "no " + options.filter.words() + " are in the trace");
  }
  if (!output.html.empty()) {
    if (auto done = write_file(output.html, render_html(report)); !done) return done;
  }
  if (!output.chrome.empty()) {
    if (auto done = write_file(output.chrome, render_chrome(report)); !done) return done;
  }
  if (!output.otlp.empty()) {
    if (auto done = write_file(output.otlp, render_otlp(report)); !done) return done;
  }
  std::string text;
  if (output.json) {
    text = render_json(report);
  } else if (options.io_id) {
    text = render_tree(*report.wanted, report);
  } else if (!output.has_files()) {
    text = render_text(report);
  } else if (report.lost_events + report.lost_packets > 0) {
    print_visible(stderr, "lunar-trace: %llu EVENTS WERE LOST, the report is incomplete\n",
                  static_cast<unsigned long long>(report.lost_events));
  }
  text = visible_text(text);  // which has names from the trace
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() || std::fflush(stdout) != 0) {
    return failure(last_system_error(), "the report cannot be written to stdout");
  }
  return {};
}

}  // namespace lunar::tracing
