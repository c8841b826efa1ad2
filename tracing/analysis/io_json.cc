// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/io_json.h"

#include <algorithm>
#include <set>

#include "tracing/analysis/explain.h"
#include "tracing/analysis/render.h"
#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

using json = nlohmann::ordered_json;

json json_of(const Histogram& histogram) {
  return {{"count", histogram.count()},           {"mean_ns", histogram.mean()},
          {"p50_ns", histogram.percentile(0.5)},  {"p95_ns", histogram.percentile(0.95)},
          {"p99_ns", histogram.percentile(0.99)}, {"max_ns", histogram.max()}};
}

json intervals(const std::vector<Interval>& all, int64_t zero) {
  json list = json::array();
  for (const Interval& each : all) {
    list.push_back(
        {{"stage", name_of(each.stage)}, {"at", each.begin - zero}, {"ns", each.length()}});
  }
  return list;
}

const char* path_name(int64_t path) { return path == kTracePathInline ? "inline" : "one_sided"; }

json json_of(const OpRecord& op, const TraceReport& report, int64_t zero) {
  json attempts = json::array();
  for (const Attempt& each : op.attempts) {
    json one = {{"attempt", each.number}, {"osd", each.osd}, {"epoch", each.epoch}};
    if (each.server < report.processes.size()) one["server"] = report.processes[each.server].name();
    if (each.reason >= 0) one["because"] = resend_reason_name(each.reason);
    if (each.replays + each.reply_replays > 0) one["replays"] = each.replays + each.reply_replays;
    if (each.path >= 0)
      one["delivery"] = {path_name(each.path), path_reason_name(each.path_reason)};
    if (each.ahead > 0) one["ahead"] = each.ahead;
    if (each.store_kind >= 0) one["store"] = store_kind_name(each.store_kind);
    if (!each.fragments.empty()) {
      json fragments = json::array();
      for (const FragmentRecord& fragment : each.fragments) {
        fragments.push_back({{"push", fragment.is_push},
                             {"fragment", fragment.index},
                             {"bytes", fragment.bytes},
                             {"result", fragment.result}});
        if (fragment.started != kNever) fragments.back()["at"] = fragment.started - zero;
        if (fragment.started != kNever && fragment.done != kNever) {
          fragments.back()["ns"] = fragment.done - fragment.started;
        }
      }
      one["fragments"] = std::move(fragments);
    }
    one["result"] = each.result;
    attempts.push_back(std::move(one));
  }
  json all = {
      {"tid", op.tid}, {"pool", op.pool}, {"pg", op.pg}, {"osd", op.osd()}, {"bytes", op.bytes}};
  if (op.submitted != kNever) all["at"] = op.submitted - zero;
  if (op.submitted != kNever && op.done != kNever) all["ns"] = op.done - op.submitted;
  all["result"] = op.result;
  if (op.cancelled != kNever) all["cancelled"] = cancel_reason_name(op.cancel_reason);
  for (const OpWait& each : op.waits) all["waits"].push_back(wait_reason_name(each.reason));
  all["attempts"] = std::move(attempts);
  all["stages"] = intervals(intervals_of(op), zero);
  return all;
}

json paths_of(const std::map<std::pair<int64_t, int64_t>, PathShare>& shares, const char* unit) {
  json list = json::array();
  for (const auto& [key, each] : shares) {
    json examples = json::array();
    for (const auto& [bytes, io_id] : each.examples) examples.push_back(id_text(io_id));
    list.push_back({{"path", path_name(key.first)},
                    {"reason", path_reason_name(key.second)},
                    {unit, each.extents},
                    {"bytes", each.bytes},
                    {"missed_one_sided", is_missed_one_sided(key.first, key.second)},
                    {"examples", std::move(examples)}});
  }
  return list;
}

template <typename Namer>
json counts_of(const std::map<int64_t, uint64_t>& counts, Namer name) {
  json all = json::object();
  for (const auto& [reason, count] : counts) all[name(reason)] = count;
  return all;
}

json trace_of(const TraceReport& report) {
  json events = json::object();
  for (std::size_t i = 0; i < kEventKinds; ++i) {
    if (report.events[i] > 0) events[std::string(name_of(EventKind(i)))] = report.events[i];
  }
  json processes = json::array();
  for (const TracedProcess& each : report.processes) {
    processes.push_back(
        {{"name", each.name()}, {"program", each.program}, {"pid", each.pid}, {"host", each.host}});
  }
  json clocks = json::array();
  for (const auto& each : report.clocks) {
    clocks.push_back({{"host", each.host},
                      {"is_reference", each.host == report.reference_host},
                      {"is_known", each.is_known},
                      {"offset_ns", each.offset_ns},
                      {"error_ns", each.error_ns},
                      {"keepalives", each.samples}});
  }
  return {{"begin_ns", report.begin == kNever ? 0 : report.begin},
          {"duration_ns", report.begin == kNever ? 0 : report.end - report.begin},
          {"events", report.total_events},
          {"foreign_events", report.foreign_events},
          {"events_by_name", std::move(events)},
          {"processes", std::move(processes)},
          {"clocks", std::move(clocks)}};
}

json losses_of(const TraceReport& report) {
  json list = json::array();
  for (const Loss& each : report.losses)
    list.push_back({{"events", each.events}, {"where", each.where}});
  return {
      {"events", report.lost_events}, {"packets", report.lost_packets}, {"list", std::move(list)}};
}

json reconciliation_of(const TraceReport& report) {
  const Reconciliation& all = report.reconciliation;
  json incomplete = json::array();
  for (const auto& [io_id, missing] : all.examples) {
    incomplete.push_back({{"io_id", id_text(io_id)}, {"missing", missing}});
  }
  return {{"percent", reconciled_percent(report)},
          {"sentence", reconciliation_sentence(report)},
          {"ios", all.within()},
          {"whole", all.whole},
          {"incomplete", all.incomplete},
          {"cut_at_start", all.cut_at_start},
          {"cut_at_end", all.cut_at_end},
          {"ops", all.ops},
          {"ops_whole", all.ops_whole},
          {"metadata_ops", all.metadata_ops},
          {"server_only", all.server_only},
          {"examples", std::move(incomplete)}};
}

// The IOs that the report is about, if it is not about all.
json chosen_of(const TraceReport& report) {
  return {{"only", report.options_.filter.words()},
          {"ios", report.reconciliation.ios()},
          {"left_out", report.skipped}};
}

json points_of(const TimeSeries::Points& points, int64_t first) {
  json list = json::array();
  for (const auto& [number, point] : points) {
    json latencies = json::array();
    for (const auto& [ns, count] : point.latencies) latencies.push_back({ns, count});
    list.push_back({{"number", number - first},
                    {"ios", point.ios},
                    {"bytes", point.bytes},
                    {"bytes_inline", point.bytes_inline},
                    {"bytes_one_sided", point.bytes_one_sided},
                    {"busy_ns", point.busy_ns},
                    {"faults", point.faults},
                    {"latencies", std::move(latencies)}});
  }
  return list;
}

json series_of(const TraceReport& report) {
  const TimeSeries& series = report.series;
  json groups = json::array();
  for (const auto& [key, points] : series.groups()) {
    json one = {{"image", key.image},
                {"kind", key.type < 0 ? "" : io_type_name(key.type)},
                {"process", ""},
                {"points", points_of(points, series.first())}};
    if (key.process < report.processes.size()) {
      one["process"] = report.processes[key.process].name();
    }
    groups.push_back(std::move(one));
  }
  const int64_t begin = series.count() == 0 ? 0 : series.first() * series.width_ns() - report.begin;
  return {{"at", begin},
          {"width_ns", series.width_ns()},
          {"count", series.count()},
          {"groups", std::move(groups)}};
}

json stages_of(const TraceReport& report) {
  json list = json::array();
  uint64_t sum = 0;
  for (const Histogram& each : report.stages) sum += each.sum();
  for (std::size_t i = 0; i < kStages; ++i) {
    const Histogram& stage = report.stages[i];
    if (stage.count() == 0) continue;
    const double share = sum == 0 ? 0 : static_cast<double>(stage.sum()) / static_cast<double>(sum);
    json one = {
        {"stage", name_of(IoStage(i))}, {"what", description_of(IoStage(i))}, {"share", share}};
    one.update(json_of(stage));
    list.push_back(std::move(one));
  }
  return list;
}

json servers_of(const TraceReport& report) {
  json list = json::array();
  const std::vector<SlowServer> slow = slow_servers(report);
  for (const auto& [osd, each] : report.servers) {
    json stages = json::object();
    for (std::size_t i = 0; i < kStages; ++i) {
      if (each.stage_ns[i] > 0) stages[std::string(name_of(IoStage(i)))] = each.stage_ns[i];
    }
    json one = {{"name", "osd." + std::to_string(osd)},
                {"osd", osd},
                {"ops", each.ops},
                {"attempts", each.attempts},
                {"resends", each.resends},
                {"replays", each.replays},
                {"timeouts", each.timeouts},
                {"errors", each.errors},
                {"round_trip", json_of(each.round_trip)},
                {"inside", json_of(each.inside)},
                {"store", json_of(each.store)},
                {"stage_ns", std::move(stages)}};
    for (const SlowServer& verdict : slow) {
      if (verdict.osd == osd) one["slow"] = verdict.sentence;
    }
    list.push_back(std::move(one));
  }
  return list;
}

}  // namespace

json json_of(const IoRecord& io, const TraceReport& report, int64_t zero) {
  json all = {{"io_id", id_text(io.io_id)}, {"title", title_of(io)}, {"why", explain(io, report)}};
  if (io.began() != kNever) all["at"] = io.began() - zero;
  all["ns"] = io.duration();
  if (io.process < report.processes.size()) all["gateway"] = report.processes[io.process].name();
  all["image"] = label_of_image(io);
  all["kind"] = io.ios.empty() ? "" : io_type_name(io.ios.front().type);
  if (io.is_command()) {
    all["command"] = {{"opcode", io.opcode},
                      {"name", opcode_name(io.opcode)},
                      {"lun", io.lun},
                      {"lba", io.lba},
                      {"bytes", io.cmd_bytes},
                      {"status", io.status},
                      {"sense_key", io.sense_key},
                      {"asc_ascq", io.asc_ascq}};
  }
  all["ios"] = json::array();
  for (const ImageIo& each : io.ios) {
    all["ios"].push_back({{"type", io_type_name(each.type)},
                          {"offset", each.offset},
                          {"length", each.length},
                          {"split", split_reason_name(each.split_reason)},
                          {"extents", each.extents},
                          {"error", each.error}});
  }
  all["extents"] = json::array();
  for (const Extent& each : io.extents) {
    all["extents"].push_back({{"object_no", each.object_no},
                              {"offset", each.offset},
                              {"length", each.length},
                              {"path", path_name(each.path)},
                              {"reason", path_reason_name(each.reason)},
                              {"tid", each.tid}});
  }
  all["stages"] = intervals(intervals_of(io), zero);
  all["ops"] = json::array();
  for (const OpRecord& op : io.ops) all["ops"].push_back(json_of(op, report, zero));
  all["missing"] = missing_in(io);
  return all;
}

json json_of(const TraceReport& report) {
  json all = {{"format", 1},
              {"trace", trace_of(report)},
              {"lost", losses_of(report)},
              {"reconciliation", reconciliation_of(report)}};
  if (report.options_.filter.is_set()) all["chosen"] = chosen_of(report);
  json types = json::object();
  for (const auto& [type, stats] : report.types) {
    json sizes = json::object();
    for (const auto& [size, count] : stats.sizes) sizes[std::to_string(size)] = count;
    types[io_type_name(type)] = {{"ios", stats.ios},
                                 {"bytes", stats.bytes},
                                 {"errors", stats.errors},
                                 {"latency", json_of(stats.latency)},
                                 {"sizes_up_to", std::move(sizes)}};
  }
  all["commands"] = {{"latency", json_of(report.commands)},
                     {"errors", report.command_errors},
                     {"aborts", report.aborts}};
  all["ios"] = std::move(types);
  all["ops"] = {{"latency", json_of(report.ops)},
                {"waits", counts_of(report.waits, wait_reason_name)},
                {"resends", counts_of(report.resends, resend_reason_name)},
                {"cancelled", counts_of(report.cancels, cancel_reason_name)},
                {"replays", report.replays}};
  all["stages"] = stages_of(report);
  all["series"] = series_of(report);
  all["servers"] = servers_of(report);
  json splits = json::object();
  for (const auto& [reason, counts] : report.splits) {
    for (const auto& [extents, ios] : counts) {
      splits[split_reason_name(reason)][std::to_string(extents)] = ios;
    }
  }
  all["splits"] = {{"extents", report.extents}, {"ios_by_reason_and_extents", std::move(splits)}};
  all["payload"] = {{"decided", paths_of(report.paths, "extents")},
                    {"delivered", paths_of(report.deliveries, "sendings")},
                    {"bytes_inline", report.bytes_inline},
                    {"bytes_one_sided", report.bytes_one_sided},
                    {"pulls", json_of(report.pulls)},
                    {"pushes", json_of(report.pushes)},
                    {"fragment_errors", report.fragment_errors},
                    {"credit_waits", json_of(report.credit_waits)}};
  all["links"] = link_story(report);
  all["slowest"] = json::array();
  for (const IoRecord& io : report.slowest)
    all["slowest"].push_back(json_of(io, report, report.begin));
  if (report.wanted) all["io"] = json_of(*report.wanted, report, report.begin);
  return all;
}

std::vector<const IoRecord*> shown_ios(const TraceReport& report) {
  std::vector<const IoRecord*> all;
  std::set<uint64_t> seen;
  for (const auto* list : {&report.slowest, &report.sample}) {
    for (const IoRecord& io : *list) {
      if (io.began() != kNever && io.ended() != kNever && seen.insert(io.io_id).second) {
        all.push_back(&io);
      }
    }
  }
  std::sort(all.begin(), all.end(),
            [](const IoRecord* a, const IoRecord* b) { return a->began() < b->began(); });
  return all;
}

std::string render_json(const TraceReport& report) {
  return json_of(report).dump(1, ' ', false, json::error_handler_t::replace) + "\n";
}

}  // namespace lunar::tracing
