// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <string>
#include <vector>

#include "tracing/analysis/explain.h"
#include "tracing/analysis/io_json.h"
#include "tracing/analysis/render.h"

// Trace Event Format. IOs overlap, so they are nestable async events ("b", "e"): one track per IO
// in the gateway, below it one per op with its stations; what a server does is in the server's
// process. Times are microseconds from the beginning of the trace.
//
// A viewer sorts by time, stably, and then matches ends with begins like brackets: what is inside
// of a bar is written between its begin and its end, for they often share a time.

namespace lunar::tracing {
namespace {

using json = nlohmann::ordered_json;

// Where bars are nested in one another.
struct Track {
  const char* category;
  std::string id;
  uint32_t process;
};

struct Bar {
  std::string name;
  int64_t begin;
  int64_t end;
  json args = json::object();

  bool is_whole() const { return begin != kNever && end != kNever && begin <= end; }
};

class TimelineWriter {
 public:
  explicit TimelineWriter(const TraceReport& report) : report_(report) {}

  void name_process(std::size_t index, const TracedProcess& process) {
    const std::string name = process.name() + " (" + process.host + ")";
    events_.push_back({{"ph", "M"},
                       {"name", "process_name"},
                       {"pid", index + 1},
                       {"tid", 0},
                       {"args", {{"name", name}}}});
  }

  // `inside`: in order of time, and not overlapping. What reaches out of `bar` is cut.
  void write(const Track& track, const Bar& bar, const std::vector<Bar>& inside = {}) {
    if (!bar.is_whole()) return;
    begin(track, bar);
    for (Bar each : inside) {
      if (!each.is_whole()) continue;
      each.begin = std::max(each.begin, bar.begin);
      each.end = std::min(each.end, bar.end);
      if (!each.is_whole()) continue;
      begin(track, each);
      end(track, each);
    }
    end(track, bar);
  }

  void instant(uint32_t process, const std::string& name, int64_t at) {
    events_.push_back({{"ph", "i"},
                       {"s", "p"},
                       {"name", name},
                       {"ts", micros(at)},
                       {"pid", pid(process)},
                       {"tid", 1}});
  }

  std::string take() {
    json all = {{"displayTimeUnit", "ns"}, {"traceEvents", std::move(events_)}};
    return all.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
  }

 private:
  void begin(const Track& track, const Bar& bar) {
    add("b", track, bar.name, bar.begin);
    if (!bar.args.empty()) events_.back()["args"] = bar.args;
  }
  void end(const Track& track, const Bar& bar) { add("e", track, bar.name, bar.end); }
  void add(const char* phase, const Track& track, const std::string& name, int64_t at) {
    events_.push_back({{"ph", phase},
                       {"cat", track.category},
                       {"id", track.id},
                       {"name", name},
                       {"ts", micros(at)},
                       {"pid", pid(track.process)},
                       {"tid", 1}});
  }

  double micros(int64_t at) const { return static_cast<double>(at - report_.begin) / 1e3; }
  static uint64_t pid(uint32_t process) {
    return process == UINT32_MAX ? 0 : static_cast<uint64_t>(process) + 1;
  }

  const TraceReport& report_;
  json events_ = json::array();
};

void write_server(TimelineWriter& writer, const std::string& id, const std::string& name,
                  uint64_t io_id, const Attempt& attempt) {
  const std::string there = id + "/" + std::to_string(attempt.number);
  const json args = {
      {"io_id", id_text(io_id)}, {"attempt", attempt.number}, {"ahead", attempt.ahead}};
  writer.write(
      {"server", there, attempt.server}, {name, attempt.received, attempt.replied, args},
      {{"store " + store_kind_name(attempt.store_kind), attempt.store_submit, attempt.store_done}});
  for (const FragmentRecord& fragment : attempt.fragments) {
    const std::string kind = fragment.is_push ? "push" : "pull";
    writer.write({"server", there + "/" + kind + std::to_string(fragment.index), attempt.server},
                 {kind,
                  fragment.started,
                  fragment.done,
                  {{"bytes", fragment.bytes}, {"result", fragment.result}}});
  }
}

void write_op(TimelineWriter& writer, const IoRecord& io, const OpRecord& op) {
  const std::string id = id_text(io.io_id) + "/" + std::to_string(op.tid);
  const std::string name = "tid " + std::to_string(op.tid) + " osd." + std::to_string(op.osd());
  const json args = {
      {"pg", op.pg}, {"bytes", op.bytes}, {"result", op.result}, {"attempts", op.attempts.size()}};
  std::vector<Bar> stages;
  for (const Interval& each : intervals_of(op)) {
    stages.push_back({std::string(name_of(each.stage)), each.begin, each.end});
  }
  writer.write({"op", id, io.process}, {name, op.submitted, op.done, args}, stages);
  for (const Attempt& each : op.attempts) {
    if (each.server != UINT32_MAX) write_server(writer, id, name, io.io_id, each);
  }
}

void write_io(TimelineWriter& writer, const IoRecord& io, const TraceReport& report) {
  const std::string id = id_text(io.io_id);
  const json args = {{"io_id", id}, {"why", explain(io, report)}};
  writer.write({"io", id, io.process}, {title_of(io), io.began(), io.ended(), args});
  // A command may have several at once: each has a track of its own.
  for (std::size_t i = 0; i < io.ios.size(); ++i) {
    const ImageIo& each = io.ios[i];
    writer.write({"image", id + "/" + std::to_string(i), io.process},
                 {io_type_name(each.type), each.started, each.done});
  }
  for (const OpRecord& op : io.ops) write_op(writer, io, op);
}

}  // namespace

std::string render_chrome(const TraceReport& report) {
  TimelineWriter writer(report);
  for (std::size_t i = 0; i < report.processes.size(); ++i) {
    writer.name_process(i, report.processes[i]);
  }
  for (const IoRecord* io : shown_ios(report)) write_io(writer, *io, report);
  for (const Incident& each : report.incidents) {
    writer.instant(each.process, std::string(name_of(each.kind)), each.at);
  }
  return writer.take();
}

}  // namespace lunar::tracing
