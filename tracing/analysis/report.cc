// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/report.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

constexpr std::size_t kMaxIncidents = 1000;
constexpr std::size_t kMaxLosses = 100;
constexpr std::size_t kMaxExamples = 20;
constexpr std::size_t kPathExamples = 5;

bool is_of_io(IoStage stage) {
  return stage == IoStage::kParse || stage == IoStage::kWindow || stage == IoStage::kJoin ||
         stage == IoStage::kStatus || stage == IoStage::kReturn;
}

bool slower(const IoRecord& a, const IoRecord& b) { return a.duration() > b.duration(); }

void add_between(Histogram& histogram, int64_t from, int64_t to) {
  if (from != kNever && to != kNever && to >= from) histogram.add(static_cast<uint64_t>(to - from));
}

}  // namespace

void TraceReport::add_event(const TraceEvent& event) {
  ++events[static_cast<std::size_t>(event.kind)];
  ++total_events;
  if (begin == kNever || event.time_ns < begin) begin = event.time_ns;
  end = std::max(end, event.time_ns);
  int64_t number = 0;
  switch (event.kind) {
    case EventKind::kCreditResume:
      credit_waits.add(static_cast<uint64_t>(std::max<int64_t>(event.wait_ns, 0)));
      return;
    case EventKind::kLinkUp:
      number = event.generation;
      break;
    case EventKind::kSessionReplay:
      number = event.messages;
      break;
    case EventKind::kLinkDown:
    case EventKind::kSessionReset:
      series.add_fault(event.time_ns);
      number = event.error;
      break;
    case EventKind::kMapReceived:
      number = event.epoch;
      break;
    case EventKind::kSessionOpen:
      break;
    default:
      return;
  }
  ++incident_count;
  if (incidents.size() < kMaxIncidents) {
    incidents.push_back(
        {event.time_ns, event.process, event.kind, event.conn, number, std::string(event.text)});
  }
}

void TraceReport::add_loss(Loss loss) {
  lost_events += loss.events;
  lost_packets += loss.packets;
  if (losses.size() < kMaxLosses) losses.push_back(std::move(loss));
}

void TraceReport::add(IoRecord io) {
  name_processes(io);
  reconcile(io);
  for (const OpRecord& op : io.ops) add_op(io, op);
  if (!io.is_io()) {
    if (options_.io_id == io.io_id) wanted = std::move(io);
    return;
  }
  if (io.cmd_started != kNever && io.ended() != kNever) {
    commands.add(static_cast<uint64_t>(io.duration()));
    if (io.status != 0) ++command_errors;
  }
  if (io.cmd_aborted != kNever) ++aborts;
  for (const ImageIo& each : io.ios) {
    TypeStats& stats = types[each.type];
    ++stats.ios;
    stats.bytes += static_cast<uint64_t>(each.length);
    if (each.error != 0) ++stats.errors;
    add_between(stats.latency, each.started, each.done);
    if (each.length > 0) ++stats.sizes[std::bit_ceil(static_cast<uint64_t>(each.length))];
    if (each.split_at != kNever) ++splits[each.split_reason][each.extents];
  }
  series.add(io);
  add_extents(io);
  for (const Interval& each : intervals_of(io)) {
    if (is_of_io(each.stage)) {
      stages[static_cast<std::size_t>(each.stage)].add(static_cast<uint64_t>(each.length()));
    }
  }
  keep(std::move(io));
}

void TraceReport::skip(const IoRecord& io) {
  name_processes(io);
  if (io.is_io()) ++skipped;
}

void TraceReport::add_example(PathShare& share, int64_t bytes, uint64_t io_id) {
  auto& examples = share.examples;
  const auto mine = std::find_if(examples.begin(), examples.end(),
                                 [&](const auto& each) { return each.second == io_id; });
  if (mine != examples.end()) {
    mine->first += bytes;
  } else if (examples.size() < kPathExamples) {
    examples.emplace_back(bytes, io_id);
  } else {
    const auto smallest = std::min_element(examples.begin(), examples.end());
    if (bytes > smallest->first) *smallest = {bytes, io_id};
  }
}

void TraceReport::add_extents(const IoRecord& io) {
  extents += io.extents.size();
  for (const Extent& each : io.extents) {
    PathShare& share = paths[{each.path, each.reason}];
    ++share.extents;
    share.bytes += static_cast<uint64_t>(each.length);
    add_example(share, each.length, io.io_id);
  }
}

void TraceReport::name_processes(const IoRecord& io) {
  if (io.process != UINT32_MAX) gateways_[io.process] = gateways_[io.process] || io.is_io();
  for (const OpRecord& op : io.ops) {
    for (const Attempt& each : op.attempts) {
      // All in one process: a test, or a program with a server inside.
      if (each.server != UINT32_MAX && each.osd >= 0 && each.server != io.process) {
        osd_of_process_[each.server] = each.osd;
      }
    }
  }
}

void TraceReport::add_op(const IoRecord& io, const OpRecord& op) {
  for (const OpWait& each : op.waits) ++waits[each.reason];
  if (op.cancelled != kNever) ++cancels[op.cancel_reason];
  add_between(ops, op.submitted, op.done);
  for (const Attempt& each : op.attempts) {
    replays += each.replays + each.reply_replays;
    bytes_inline += static_cast<uint64_t>(each.bytes_inline);
    bytes_one_sided += static_cast<uint64_t>(each.bytes_one_sided);
    if (each.reason >= 0) ++resends[each.reason];
    if (each.path >= 0) {
      PathShare& share = deliveries[{each.path, each.path_reason}];
      ++share.extents;
      share.bytes += static_cast<uint64_t>(op.bytes);
      add_example(share, op.bytes, io.io_id);
    }
    for (const FragmentRecord& fragment : each.fragments) {
      add_between(fragment.is_push ? pushes : pulls, fragment.started, fragment.done);
      if (fragment.result != 0) ++fragment_errors;
    }
    if (each.osd < 0) continue;
    OsdStats& server = servers[each.osd];
    ++server.attempts;
    if (each.reason >= 0) ++server.resends;
    server.replays += each.replays + each.reply_replays;
    if (each.result != 0) ++server.errors;
    add_between(server.round_trip, each.sent, each.reply_arrived);
    add_between(server.inside, each.received, each.replied);
    add_between(server.store, each.store_submit, each.store_done);
  }
  const int64_t osd = op.osd();
  OsdStats* server = osd < 0 ? nullptr : &servers[osd];
  if (server != nullptr) {
    ++server->ops;
    if (op.cancelled != kNever && op.cancel_reason == kTraceCancelTimeout) ++server->timeouts;
  }
  for (const Interval& each : intervals_of(op)) {
    const auto stage = static_cast<std::size_t>(each.stage);
    stages[stage].add(static_cast<uint64_t>(each.length()));
    if (server != nullptr) server->stage_ns[stage] += static_cast<uint64_t>(each.length());
  }
}

void TraceReport::reconcile(const IoRecord& io) {
  Reconciliation& all = reconciliation;
  std::size_t submitted = 0, done = 0;
  for (const OpRecord& op : io.ops) {
    if (op.submitted == kNever) continue;
    ++submitted;
    if (op.done != kNever) ++done;
  }
  if (!io.is_io()) {
    (submitted > 0 ? all.metadata_ops : all.server_only) += std::max<std::size_t>(submitted, 1);
    return;
  }
  const std::vector<std::string> missing = missing_in(io);
  const bool began_before =
      io.is_command() ? io.cmd_started == kNever
                      : std::any_of(io.ios.begin(), io.ios.end(),
                                    [](const ImageIo& each) { return each.started == kNever; });
  const bool goes_on = io.ended() == kNever || (io.is_command() && io.cmd_done == kNever);
  // Where events were lost, nobody can tell whether it is the trace's edge or the loss.
  if (!missing.empty() && began_before && lost_events == 0) {
    ++all.cut_at_start;
    return;
  }
  if (!missing.empty() && goes_on && lost_events == 0) {
    ++all.cut_at_end;
    return;
  }
  all.ops += submitted;
  all.ops_whole += done;
  if (missing.empty()) {
    ++all.whole;
    return;
  }
  ++all.incomplete;
  if (all.examples.size() >= kMaxExamples) return;
  std::string text;
  for (std::size_t i = 0; i < std::min<std::size_t>(missing.size(), 4); ++i) {
    text += (i > 0 ? ", " : "") + missing[i];
  }
  if (missing.size() > 4) text += " and " + std::to_string(missing.size() - 4) + " more";
  all.examples.emplace_back(io.io_id, text);
}

void TraceReport::keep(IoRecord io) {
  ++seen_;
  if (options_.io_id == io.io_id) wanted = io;
  const std::size_t room = std::max<std::size_t>(options_.slowest, 1);
  if (io.duration() > 0) {
    if (slowest.size() < room) {
      slowest.push_back(io);
      std::push_heap(slowest.begin(), slowest.end(), slower);
    } else if (io.duration() > slowest.front().duration()) {
      std::pop_heap(slowest.begin(), slowest.end(), slower);
      slowest.back() = io;
      std::push_heap(slowest.begin(), slowest.end(), slower);
    }
  }
  if (options_.sample == 0) return;
  if (sample.size() < options_.sample) {
    sample.push_back(std::move(io));
  } else {
    const uint64_t at = std::uniform_int_distribution<uint64_t>(0, seen_ - 1)(random_);
    if (at < sample.size()) sample[at] = std::move(io);
  }
}

void TraceReport::finish(Processes all, const ClockAlign& clock_align) {
  processes = std::move(all);
  for (const auto& [process, osd] : osd_of_process_) {
    processes[process].osd = static_cast<int32_t>(osd);
  }
  for (const auto& [process, is_gateway] : gateways_) {
    if (is_gateway) processes[process].is_gateway = true;
  }
  clocks = clock_align.estimates();
  reference_host = clock_align.reference();
  std::sort(slowest.begin(), slowest.end(), slower);
  std::sort(sample.begin(), sample.end(),
            [](const IoRecord& a, const IoRecord& b) { return a.first < b.first; });
}

}  // namespace lunar::tracing
