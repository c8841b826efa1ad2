// SPDX-License-Identifier: LGPL-2.1-or-later
#include <string>

#include "tracing/analysis/explain.h"
#include "tracing/analysis/io_json.h"
#include "tracing/analysis/render.h"

// Trace Event Format. IOs overlap, so they are nestable async events ("b", "e"): one track per IO
// in the gateway, below it one per op with its stations; what a server does is in the server's
// process. Times are microseconds from the beginning of the trace.

namespace lunar::tracing {
namespace {

using json = nlohmann::ordered_json;

class Writer {
 public:
  explicit Writer(const Report& report) : report_(report) {}

  void name_process(std::size_t index, const Process& process) {
    const std::string name = process.name() + " (" + process.host + ")";
    events_.push_back({{"ph", "M"},
                       {"name", "process_name"},
                       {"pid", index + 1},
                       {"tid", 0},
                       {"args", {{"name", name}}}});
  }

  void span(const char* category, const std::string& id, uint32_t process, const std::string& name,
            int64_t begin, int64_t end, json args = json::object()) {
    if (begin == kNever || end == kNever || end < begin) return;
    json event = {{"ph", "b"},           {"cat", category},     {"id", id}, {"name", name},
                  {"ts", micros(begin)}, {"pid", pid(process)}, {"tid", 1}};
    if (!args.empty()) event["args"] = std::move(args);
    events_.push_back(std::move(event));
    events_.push_back({{"ph", "e"},
                       {"cat", category},
                       {"id", id},
                       {"name", name},
                       {"ts", micros(end)},
                       {"pid", pid(process)},
                       {"tid", 1}});
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
  double micros(int64_t at) const { return static_cast<double>(at - report_.begin) / 1e3; }
  static uint64_t pid(uint32_t process) {
    return process == UINT32_MAX ? 0 : static_cast<uint64_t>(process) + 1;
  }

  const Report& report_;
  json events_ = json::array();
};

void write_op(Writer& writer, const IoRecord& io, const OpRecord& op) {
  const std::string id = id_text(io.io_id) + "/" + std::to_string(op.tid);
  const std::string name = "tid " + std::to_string(op.tid) + " osd." + std::to_string(op.osd());
  writer.span("op", id, io.process, name, op.submitted, op.done,
              {{"pg", op.pg},
               {"bytes", op.bytes},
               {"result", op.result},
               {"attempts", op.attempts.size()}});
  for (const Interval& each : intervals_of(op)) {
    writer.span("op", id, io.process, std::string(name_of(each.stage)), each.begin, each.end);
  }
  for (const Attempt& each : op.attempts) {
    if (each.server == UINT32_MAX) continue;
    const std::string there = id + "/" + std::to_string(each.number);
    writer.span("server", there, each.server, name, each.received, each.replied,
                {{"io_id", id_text(io.io_id)}, {"attempt", each.number}, {"ahead", each.ahead}});
    writer.span("server", there, each.server, "store " + store_kind_name(each.store_kind),
                each.store_submit, each.store_done);
    for (const Fragment& part : each.fragments) {
      writer.span("server",
                  there + "/" + (part.is_push ? "push" : "pull") + std::to_string(part.index),
                  each.server, part.is_push ? "push" : "pull", part.started, part.done,
                  {{"bytes", part.bytes}, {"result", part.result}});
    }
  }
}

}  // namespace

std::string render_chrome(const Report& report) {
  Writer writer(report);
  for (std::size_t i = 0; i < report.processes.size(); ++i) {
    writer.name_process(i, report.processes[i]);
  }
  for (const IoRecord* io : shown_ios(report)) {
    writer.span("io", id_text(io->io_id), io->process, title_of(*io), io->began(), io->ended(),
                {{"io_id", id_text(io->io_id)}, {"why", explain(*io, report)}});
    for (const ImageIo& each : io->ios) {
      writer.span("io", id_text(io->io_id), io->process, io_type_name(each.type), each.started,
                  each.done);
    }
    for (const OpRecord& op : io->ops) write_op(writer, *io, op);
  }
  for (const Incident& each : report.incidents) {
    writer.instant(each.process, std::string(name_of(each.kind)), each.at);
  }
  return writer.take();
}

}  // namespace lunar::tracing
