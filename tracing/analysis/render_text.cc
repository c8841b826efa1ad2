// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <ctime>

#include "tracing/analysis/explain.h"
#include "tracing/analysis/render.h"
#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

constexpr std::size_t kShownIncidents = 30;

// What is printed, line by line.
class Page {
 public:
  [[gnu::format(printf, 2, 3)]] void line(const char* format, ...) {
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    text_ += text;
    text_ += '\n';
  }
  void head(const char* title) { text_ += std::string("\n") + title + "\n"; }
  void add(const std::string& text) { text_ += text + "\n"; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

std::string duration_row(const Histogram& histogram) {
  char text[160];
  const auto at = [&](double fraction) {
    return time_text(static_cast<int64_t>(histogram.percentile(fraction)));
  };
  std::snprintf(text, sizeof text, "%9" PRIu64 "  %10s  %10s  %10s  %10s  %10s", histogram.count(),
                time_text(static_cast<int64_t>(histogram.mean())).c_str(), at(0.5).c_str(),
                at(0.95).c_str(), at(0.99).c_str(),
                time_text(static_cast<int64_t>(histogram.max())).c_str());
  return text;
}

std::string share(uint64_t some, uint64_t whole) {
  char text[16];
  std::snprintf(text, sizeof text, "%5.1f %%",
                whole == 0 ? 0.0 : 100.0 * static_cast<double>(some) / static_cast<double>(whole));
  return text;
}

void print_losses(Page& page, const TraceReport& report) {
  if (report.lost_events + report.lost_packets == 0) return;
  page.line("!!! %" PRIu64
            " EVENTS WERE LOST: LTTng's buffers were full. What follows is incomplete.",
            report.lost_events);
  if (report.lost_packets > 0) {
    page.line("!!! %" PRIu64 " packets were lost too.", report.lost_packets);
  }
  for (const Loss& each : report.losses) {
    if (each.begin == kNever || each.end == kNever) {
      page.line("!!!   %" PRIu64 " in %s", each.events, each.where.c_str());
    } else {
      page.line("!!!   %" PRIu64 " between %+.6f s and %+.6f s in %s", each.events,
                static_cast<double>(each.begin - report.begin) / 1e9,
                static_cast<double>(each.end - report.begin) / 1e9, each.where.c_str());
    }
  }
  page.line(
      "!!! Record again with larger buffers: lunar-trace record --subbuf-size 4M --num-subbuf 16");
  page.add("");
}

void print_summary(Page& page, const TraceReport& report) {
  const std::time_t seconds = report.begin / 1'000'000'000;
  char when[40] = "";
  std::tm calendar{};
  if (gmtime_r(&seconds, &calendar) != nullptr) {
    std::strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", &calendar);
  }
  page.line("%" PRIu64 " events of %zu processes in %s, from %s", report.total_events,
            report.processes.size(), time_text(report.end - report.begin).c_str(), when);
  for (const TracedProcess& each : report.processes) {
    page.line("  %-16s %s, pid %" PRId64 " on %s", each.name().c_str(),
              each.program.empty() ? "?" : each.program.c_str(), each.pid, each.host.c_str());
  }
  if (report.options_.filter.is_set()) {
    page.add("Only " + report.options_.filter.words() + ": " +
             std::to_string(report.reconciliation.ios()) + " of " +
             std::to_string(report.reconciliation.ios() + report.skipped) +
             " IOs. Processes, losses and links are those of the whole recording.");
  }
  if (report.clocks.size() > 1) {
    page.head("Clocks of the hosts, against the gateway's (from keepalives; applied below)");
    for (const auto& each : report.clocks) {
      if (each.host == report.reference_host) {
        page.line("  %-20s the reference", each.host.c_str());
      } else if (!each.is_known) {
        page.line("  %-20s UNKNOWN: no keepalive of a connection with it was recorded",
                  each.host.c_str());
      } else {
        page.line("  %-20s %+" PRId64 " ns, +- %s, from %" PRIu64 " keepalives", each.host.c_str(),
                  each.offset_ns, time_text(each.error_ns).c_str(), each.samples);
      }
    }
  }
}

void print_reconciliation(Page& page, const TraceReport& report) {
  page.head("Reconciliation");
  page.add("  " + reconciliation_sentence(report));
  const Reconciliation& all = report.reconciliation;
  if (all.metadata_ops > 0) {
    page.line("  %" PRIu64 " more ops belong to no IO: image headers, directories.",
              all.metadata_ops);
  }
  if (all.server_only > 0) {
    page.line("  %" PRIu64 " IOs are known from servers only: their gateway was not recorded.",
              all.server_only);
  }
  for (const auto& [io_id, missing] : all.examples) {
    page.line("  incomplete: %s lacks %s", id_text(io_id).c_str(), missing.c_str());
  }
}

void print_latencies(Page& page, const TraceReport& report) {
  page.line("\n%-32s %9s  %10s  %10s  %10s  %10s  %10s", "Latency", "count", "mean", "p50", "p95",
            "p99", "max");
  if (report.commands.count() > 0) {
    page.line("%-32s %s", "SCSI command", duration_row(report.commands).c_str());
  }
  for (const auto& [type, stats] : report.types) {
    page.line("%-32s %s", ("IO: " + io_type_name(type)).c_str(),
              duration_row(stats.latency).c_str());
  }
  page.line("%-32s %s", "op", duration_row(report.ops).c_str());
  page.add("Stages");
  uint64_t sum = 0;
  for (const Histogram& each : report.stages) sum += each.sum();
  for (std::size_t i = 0; i < kStages; ++i) {
    if (report.stages[i].count() == 0) continue;
    const auto stage = static_cast<IoStage>(i);
    page.line("  %-13s %s        %s %s", std::string(name_of(stage)).c_str(),
              share(report.stages[i].sum(), sum).c_str(), duration_row(report.stages[i]).c_str(),
              std::string(description_of(stage)).c_str());
  }
  if (report.pulls.count() + report.pushes.count() > 0) {
    page.line("%-32s %s", "RDMA READ of a fragment", duration_row(report.pulls).c_str());
    page.line("%-32s %s", "RDMA WRITE of a fragment", duration_row(report.pushes).c_str());
    if (report.fragment_errors > 0)
      page.line("  %" PRIu64 " of them failed", report.fragment_errors);
  }
  if (report.credit_waits.count() > 0) {
    page.line("%-32s %s", "wait for credits", duration_row(report.credit_waits).c_str());
  }
}

void print_servers(Page& page, const TraceReport& report) {
  if (report.servers.empty()) return;
  page.line("\n%-9s %8s %7s %7s %8s %6s  %10s  %10s  %10s  %10s  %10s", "Server", "ops", "resent",
            "replays", "timeouts", "errors", "mean trip", "p50", "p99", "max", "mean store");
  for (const auto& [osd, each] : report.servers) {
    const auto at = [&trip = each.round_trip](double fraction) {
      return time_text(static_cast<int64_t>(trip.percentile(fraction)));
    };
    page.line("%-9s %8" PRIu64 " %7" PRIu64 " %7" PRIu64 " %8" PRIu64 " %6" PRIu64
              "  %10s  %10s  %10s  %10s  %10s",
              ("osd." + std::to_string(osd)).c_str(), each.ops, each.resends, each.replays,
              each.timeouts, each.errors,
              time_text(static_cast<int64_t>(each.round_trip.mean())).c_str(), at(0.5).c_str(),
              at(0.99).c_str(), time_text(static_cast<int64_t>(each.round_trip.max())).c_str(),
              time_text(static_cast<int64_t>(each.store.mean())).c_str());
  }
  for (const SlowServer& slow : slow_servers(report)) page.add("  " + slow.sentence);
}

void print_sizes(Page& page, const TraceReport& report) {
  page.head("Sizes (IOs of up to)");
  for (const auto& [type, stats] : report.types) {
    std::string row;
    for (const auto& [size, count] : stats.sizes) {
      row += "  " + bytes_text(size) + ": " + std::to_string(count);
    }
    page.line("  %-18s %8" PRIu64 " IOs, %s%s", io_type_name(type).c_str(), stats.ios,
              bytes_text(stats.bytes).c_str(), stats.errors == 0 ? "" : ", WITH ERRORS:");
    if (stats.errors != 0) page.line("    %" PRIu64 " failed", stats.errors);
    if (!row.empty()) page.add("   " + row);
  }
  page.head("Splits (extents per IO: IOs)");
  for (const auto& [reason, counts] : report.splits) {
    std::string row;
    for (const auto& [extents, ios] : counts) {
      row += "  " + std::to_string(extents) + ": " + std::to_string(ios);
    }
    page.add("  " + split_reason_name(reason) + ":" + row);
  }
  page.line("  %" PRIu64 " extents in all", report.extents);
}

void print_paths(Page& page, const TraceReport& report) {
  page.head("Payload: inline or one-sided");
  uint64_t bytes = 0;
  for (const auto& [key, each] : report.paths) bytes += each.bytes;
  for (const auto& [key, each] : report.paths) {
    page.line("  decided   %-10s %-16s %9" PRIu64 " extents %12s %s",
              key.first == kTracePathInline ? "inline" : "one_sided",
              path_reason_name(key.second).c_str(), each.extents, bytes_text(each.bytes).c_str(),
              share(each.bytes, bytes).c_str());
  }
  for (const auto& [key, each] : report.deliveries) {
    page.line("  delivered %-10s %-16s %9" PRIu64 " sendings",
              key.first == kTracePathInline ? "inline" : "one_sided",
              path_reason_name(key.second).c_str(), each.extents);
  }
  const uint64_t moved = report.bytes_inline + report.bytes_one_sided;
  page.line("  moved     inline %s (%s), one-sided %s (%s), as the servers say",
            bytes_text(report.bytes_inline).c_str(), share(report.bytes_inline, moved).c_str(),
            bytes_text(report.bytes_one_sided).c_str(),
            share(report.bytes_one_sided, moved).c_str());
  bool any = false;
  for (const auto* shares : {&report.paths, &report.deliveries}) {
    for (const auto& [key, each] : *shares) {
      if (!is_missed_one_sided(key.first, key.second)) continue;
      if (!any) page.add("  Large enough for one-sided, and yet inline:");
      any = true;
      std::string examples;
      for (const auto& [size, io_id] : each.examples) {
        examples += " " + id_text(io_id) + " (" + bytes_text(static_cast<uint64_t>(size)) + ")";
      }
      page.line("    %-16s %9" PRIu64 " %s, %s; for example%s",
                path_reason_name(key.second).c_str(), each.extents,
                shares == &report.paths ? "extents" : "sendings", bytes_text(each.bytes).c_str(),
                examples.c_str());
    }
  }
}

void print_troubles(Page& page, const TraceReport& report) {
  page.head("Waits, resends, links");
  for (const auto& [reason, count] : report.waits) {
    page.line("  %" PRIu64 " ops waited in the gateway: %s", count,
              wait_reason_name(reason).c_str());
  }
  for (const auto& [reason, count] : report.resends) {
    page.line("  %" PRIu64 " ops sent again: %s", count, resend_reason_name(reason).c_str());
  }
  for (const auto& [reason, count] : report.cancels) {
    page.line("  %" PRIu64 " ops given up: %s", count, cancel_reason_name(reason).c_str());
  }
  page.line("  %" PRIu64 " messages replayed by sessions after a link broke", report.replays);
  if (report.aborts > 0)
    page.line("  %" PRIu64 " commands aborted by the initiator", report.aborts);
  const std::vector<std::string> story = link_story(report);
  for (std::size_t i = 0; i < std::min(story.size(), kShownIncidents); ++i)
    page.add("  " + story[i]);
  if (report.incident_count > kShownIncidents) {
    page.line("  ... and %" PRIu64 " more", report.incident_count - kShownIncidents);
  }
}

}  // namespace

std::string render_text(const TraceReport& report) {
  Page page;
  print_losses(page, report);
  print_summary(page, report);
  print_reconciliation(page, report);
  print_latencies(page, report);
  print_servers(page, report);
  print_sizes(page, report);
  print_paths(page, report);
  print_troubles(page, report);
  if (!report.slowest.empty()) {
    page.head("Slowest IOs (lunar-trace report DIR --io ID shows one whole)");
    for (const IoRecord& io : report.slowest) page.add("  " + explain(io, report));
  }
  return page.take();
}

}  // namespace lunar::tracing
