// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/explain.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <numeric>

#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

// A server is slow if its mean is that many times the median of the others', and so much above it.
constexpr double kSlowFactor = 3;
constexpr double kSlowAboveNs = 500'000;
constexpr uint64_t kFewestOps = 5;

std::string percent(int64_t share, int64_t whole) {
  char text[16];
  std::snprintf(text, sizeof text, "%.0f %%",
                whole <= 0 ? 0.0 : 100.0 * static_cast<double>(share) / static_cast<double>(whole));
  return text;
}

std::string counted(uint64_t number, const std::string& noun) {
  return std::to_string(number) + " " + noun + (number == 1 ? "" : "s");
}

// What befell the op, beside taking long.
std::string troubles_of(const OpRecord& op) {
  std::string text;
  const auto add = [&text](const std::string& what) { text += "; " + what; };
  for (const Attempt& each : op.attempts) {
    if (each.replays + each.reply_replays > 0) {
      add("its link broke and the session sent it again");
      break;
    }
  }
  for (const Attempt& each : op.attempts) {
    if (each.reason >= 0) {
      add("attempt " + std::to_string(each.number) + " because of " +
          resend_reason_name(each.reason));
    }
  }
  if (!op.waits.empty()) add("it had to wait: " + wait_reason_name(op.waits.back().reason));
  if (op.cancelled != kNever) add("it was given up: " + cancel_reason_name(op.cancel_reason));
  const Attempt* last = op.last_attempt();
  if (last != nullptr && last->ahead > 0) {
    add(counted(static_cast<uint64_t>(last->ahead), "op") + " on its object came before it");
  }
  return text;
}

double mean_of(const OsdStats& server) { return static_cast<double>(server.round_trip.mean()); }

}  // namespace

std::string title_of(const IoRecord& io) {
  std::string text;
  if (io.cmd_started != kNever) {
    text = opcode_name(io.opcode);
    if (io.cmd_bytes > 0) text += " of " + bytes_text(static_cast<uint64_t>(io.cmd_bytes));
  } else if (!io.ios.empty()) {
    text = io_type_name(io.ios.front().type);
    if (io.ios.front().length > 0) {
      text += " of " + bytes_text(static_cast<uint64_t>(io.ios.front().length));
    }
  } else {
    return "ops of no IO";
  }
  if (!io.ios.empty() && io.ios.front().length > 0) {
    text += " at " + bytes_text(static_cast<uint64_t>(io.ios.front().offset));
  }
  if (!io.lun.empty()) text += " of " + io.lun;
  return text;
}

std::string explain(const IoRecord& io, const TraceReport& report) {
  const int64_t took = io.duration();
  std::string text = title_of(io) + " (" + id_text(io.io_id) + ") took " + time_text(took);
  if (io.cmd_started != kNever) {
    const auto median = static_cast<int64_t>(report.commands.percentile(0.5));
    if (median > 0 && took >= 2 * median) {
      char times[40];
      std::snprintf(times, sizeof times, ", %.0f times the median",
                    static_cast<double>(took) / static_cast<double>(median));
      text += times;
    }
  }
  const std::vector<Interval> path = intervals_of(io);
  const OpRecord* op = io.critical_op();
  if (path.empty()) return text + ": its beginning or its end was not recorded.";
  const Interval longest = *std::max_element(
      path.begin(), path.end(),
      [](const Interval& a, const Interval& b) { return a.length() < b.length(); });
  const int64_t osd = op == nullptr ? -1 : op->osd();
  text += ": " + time_text(longest.length()) + " (" + percent(longest.length(), took) + ") of it " +
          place_of(longest.stage, osd);
  if (op != nullptr) {
    text += "; tid " + std::to_string(op->tid);
    if (osd >= 0) text += " to osd." + std::to_string(osd);
    if (io.ops.size() > 1) text += ", the last of its " + counted(io.ops.size(), "op") + " to end";
    text += troubles_of(*op);
  }
  for (const ImageIo& each : io.ios) {
    if (each.error != 0) {
      text += "; it failed with error " + std::to_string(each.error);
      break;
    }
  }
  return text + ".";
}

std::vector<SlowServer> slow_servers(const TraceReport& report) {
  std::vector<std::pair<double, SlowServer>> found;
  for (const auto& [osd, server] : report.servers) {
    if (server.round_trip.count() < kFewestOps) continue;
    std::vector<double> others;
    for (const auto& [other, stats] : report.servers) {
      if (other != osd && stats.round_trip.count() >= kFewestOps) others.push_back(mean_of(stats));
    }
    if (others.empty()) continue;
    std::nth_element(others.begin(), others.begin() + static_cast<long>(others.size() / 2),
                     others.end());
    const double usual = others[others.size() / 2];
    const double mean = mean_of(server);
    if (mean < kSlowFactor * usual || mean - usual < kSlowAboveNs) continue;
    const auto longest = std::max_element(server.stage_ns.begin(), server.stage_ns.end());
    const auto stage = static_cast<IoStage>(longest - server.stage_ns.begin());
    const uint64_t sum =
        std::accumulate(server.stage_ns.begin(), server.stage_ns.end(), uint64_t{0});
    SlowServer slow;
    slow.osd = osd;
    slow.sentence = "osd." + std::to_string(osd) + " is slow: its ops take " +
                    time_text(static_cast<int64_t>(mean)) + " on average, those of the others " +
                    time_text(static_cast<int64_t>(usual)) + "; " +
                    percent(static_cast<int64_t>(*longest), static_cast<int64_t>(sum)) +
                    " of the time of its ops goes by " + place_of(stage, osd) + ".";
    found.emplace_back(mean, std::move(slow));
  }
  std::sort(found.begin(), found.end(),
            [](const auto& a, const auto& b) { return a.first > b.first; });
  std::vector<SlowServer> all;
  for (auto& [mean, slow] : found) all.push_back(std::move(slow));
  return all;
}

bool is_missed_one_sided(int64_t path, int64_t reason) noexcept {
  return path == kTracePathInline && reason != kTracePathBelowThreshold &&
         reason != kTracePathOpKind && reason != kTracePathEligible;
}

std::vector<std::string> link_story(const TraceReport& report) {
  std::vector<std::string> story;
  for (const Incident& each : report.incidents) {
    char when[32];
    std::snprintf(when, sizeof when, "%+.3f s ", static_cast<double>(each.at - report.begin) / 1e9);
    const std::string who = report.processes[each.process].name() + ", conn " + id_text(each.conn);
    switch (each.kind) {
      case EventKind::kLinkUp:
        story.push_back(when + who + ": link " + std::to_string(each.number) + " up, to " +
                        each.peer);
        break;
      case EventKind::kLinkDown:
        story.push_back(when + who + ": link down, error " + std::to_string(each.number));
        break;
      case EventKind::kSessionOpen:
        story.push_back(when + who + ": new session with " + each.peer);
        break;
      case EventKind::kSessionReplay:
        story.push_back(when + who + ": session goes on, " +
                        counted(static_cast<uint64_t>(each.number), "message") + " sent again");
        break;
      case EventKind::kSessionReset:
        story.push_back(when + who + ": SESSION LOST, error " + std::to_string(each.number));
        break;
      case EventKind::kMapReceived:
        story.push_back(when + report.processes[each.process].name() + ": map " +
                        std::to_string(each.number));
        break;
      default:
        break;
    }
  }
  return story;
}

double reconciled_percent(const TraceReport& report) {
  const Reconciliation& all = report.reconciliation;
  if (all.within() == 0) return 100;
  return 100.0 * static_cast<double>(all.whole) / static_cast<double>(all.within());
}

std::string reconciliation_sentence(const TraceReport& report) {
  const Reconciliation& all = report.reconciliation;
  char text[256];
  if (all.incomplete == 0 && report.lost_events + report.lost_packets == 0) {
    std::snprintf(text, sizeof text,
                  "100 %%: each of %" PRIu64 " IOs has its end, each of their %" PRIu64
                  " ops its answer",
                  all.whole, all.ops_whole);
  } else {
    std::snprintf(text, sizeof text,
                  "%.3f %%: %" PRIu64 " of %" PRIu64 " IOs have all their events, %" PRIu64
                  " of %" PRIu64 " ops their end",
                  reconciled_percent(report), all.whole, all.within(), all.ops_whole, all.ops);
  }
  std::string sentence = text;
  if (all.cut_at_start > 0) {
    sentence += "; " + std::to_string(all.cut_at_start) + " were under way when recording began";
  }
  if (all.cut_at_end > 0) {
    sentence += "; " + std::to_string(all.cut_at_end) + " were under way when it ended";
  }
  return sentence + ".";
}

}  // namespace lunar::tracing
