// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <string>
#include <vector>

#include "tracing/analysis/io_json.h"
#include "tracing/analysis/render.h"

// OTLP/JSON, as opentelemetry-proto's trace.proto maps to JSON: ids in hex, 64-bit numbers as text,
// enumerators as numbers. One trace per IO: the IO in its gateway, below it its ops, below an op
// its attempts in the servers, below an attempt the store and the fragments moved by RDMA.

namespace lunar::tracing {
namespace {

using json = nlohmann::ordered_json;

enum SpanKind : int { kInternal = 1, kServer = 2, kClient = 3 };  // enum SpanKind of trace.proto
constexpr int kStatusError = 2;                                   // STATUS_CODE_ERROR

std::string hex(uint64_t number) {
  char text[24];
  std::snprintf(text, sizeof text, "%016" PRIx64, number);
  return text;
}

json attribute(const char* key, const std::string& text) {
  return {{"key", key}, {"value", {{"stringValue", text}}}};
}
json attribute(const char* key, int64_t number) {
  return {{"key", key}, {"value", {{"intValue", std::to_string(number)}}}};
}

// Ids of the spans of one IO: the same in every report on it, and never 0, which is no id.
class SpanIds {
 public:
  explicit SpanIds(uint64_t io_id) : state_(io_id) {}
  std::string next() {
    state_ += 0x9e3779b97f4a7c15;  // splitmix64
    uint64_t id = state_;
    id = (id ^ (id >> 30)) * 0xbf58476d1ce4e5b9;
    id = (id ^ (id >> 27)) * 0x94d049bb133111eb;
    id ^= id >> 31;
    return hex(id == 0 ? 1 : id);
  }

 private:
  uint64_t state_;
};

class OtlpWriter {
 public:
  explicit OtlpWriter(const TraceReport& report)
      : report_(report), spans_(report.processes.size() + 1, json::array()) {}

  void add(const IoRecord& io) {
    // An io_id is unique within a recording, a trace id among all.
    const std::string trace = hex(static_cast<uint64_t>(report_.begin)) + hex(io.io_id);
    SpanIds ids(io.io_id);
    const std::string id = ids.next();
    json span = new_span(trace, id, "", name_of_io(io), kServer);
    if (!set_times(span, io.began(), io.ended())) return;
    span["attributes"] = json::array({attribute("lunar.io_id", id_text(io.io_id)),
                                      attribute("lunar.image", label_of_image(io))});
    if (!io.ios.empty()) {
      span["attributes"].push_back(attribute("lunar.offset", io.ios.front().offset));
      span["attributes"].push_back(attribute("lunar.length", io.ios.front().length));
    }
    for (const ImageIo& each : io.ios) set_error(span, each.error);
    if (io.status != 0) set_status(span, "SCSI status " + std::to_string(io.status));
    put(io.process, std::move(span));
    for (const OpRecord& op : io.ops) add_op(trace, ids, id, io, op);
  }

  // Collectors read lines of up to 1 MiB, and a span has about 500 bytes.
  std::string take() {
    constexpr std::size_t kMaxSpansOfLine = 1000;
    std::string lines;
    for (std::size_t i = 0; i < spans_.size(); ++i) {
      for (std::size_t at = 0; at < spans_[i].size(); at += kMaxSpansOfLine) {
        json spans = json::array();
        for (std::size_t n = at; n < std::min(at + kMaxSpansOfLine, spans_[i].size()); ++n)
          spans.push_back(std::move(spans_[i][n]));
        json scope = {{"scope", {{"name", "lunar-trace"}}}, {"spans", std::move(spans)}};
        json resource = {{"resource", {{"attributes", resource_of(i)}}},
                         {"scopeSpans", json::array({std::move(scope)})}};
        const json line = {{"resourceSpans", json::array({std::move(resource)})}};
        lines += line.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
      }
    }
    return lines;
  }

 private:
  static std::string name_of_io(const IoRecord& io) {
    return io.is_command() ? opcode_name(io.opcode) : io_type_name(io.ios.front().type);
  }

  static json new_span(const std::string& trace, const std::string& id, const std::string& parent,
                       const std::string& name, SpanKind kind) {
    json span = {{"traceId", trace}, {"spanId", id}};
    if (!parent.empty()) span["parentSpanId"] = parent;
    span["name"] = name;
    span["kind"] = static_cast<int>(kind);
    return span;
  }

  // False if one of them was not recorded, or is before 1970.
  static bool set_times(json& span, int64_t begin, int64_t end) {
    if (begin < 0 || end < 0) return false;
    span["startTimeUnixNano"] = std::to_string(begin);
    span["endTimeUnixNano"] = std::to_string(std::max(begin, end));
    return true;
  }

  static void set_status(json& span, const std::string& message) {
    span["status"] = {{"code", kStatusError}, {"message", message}};
  }
  static void set_error(json& span, int64_t error) {
    if (error != 0) set_status(span, "error " + std::to_string(error));
  }

  static void add_event(json& span, int64_t at, const std::string& name,
                        const std::string& reason) {
    if (at < 0) return;
    span["events"].push_back({{"timeUnixNano", std::to_string(at)},
                              {"name", name},
                              {"attributes", json::array({attribute("lunar.reason", reason)})}});
  }

  void add_op(const std::string& trace, SpanIds& ids, const std::string& parent, const IoRecord& io,
              const OpRecord& op) {
    const std::string id = ids.next();
    json span = new_span(trace, id, parent, "op", kClient);
    if (!set_times(span, op.submitted, op.done)) return;
    span["attributes"] =
        json::array({attribute("lunar.tid", static_cast<int64_t>(op.tid)),
                     attribute("lunar.pool", op.pool), attribute("lunar.pg", op.pg),
                     attribute("lunar.bytes", op.bytes), attribute("lunar.osd", op.osd())});
    for (const OpWait& each : op.waits) {
      add_event(span, each.at, "op_wait", wait_reason_name(each.reason));
    }
    for (const Attempt& each : op.attempts) {
      if (each.reason >= 0) {
        add_event(span, each.begun, "op_resend", resend_reason_name(each.reason));
      }
    }
    if (op.cancelled != kNever) {
      add_event(span, op.cancelled, "op_cancel", cancel_reason_name(op.cancel_reason));
    }
    set_error(span, op.result);
    put(io.process, std::move(span));
    for (const Attempt& each : op.attempts) add_attempt(trace, ids, id, each);
  }

  void add_attempt(const std::string& trace, SpanIds& ids, const std::string& parent,
                   const Attempt& attempt) {
    const std::string id = ids.next();
    json span = new_span(trace, id, parent, "attempt", kServer);
    const int64_t begin = attempt.arrived != kNever ? attempt.arrived : attempt.received;
    const int64_t end = attempt.reply_sent != kNever ? attempt.reply_sent : attempt.replied;
    if (!set_times(span, begin, end)) return;
    span["attributes"] = json::array({attribute("lunar.attempt", attempt.number),
                                      attribute("lunar.osd", attempt.osd),
                                      attribute("lunar.bytes_inline", attempt.bytes_inline),
                                      attribute("lunar.bytes_one_sided", attempt.bytes_one_sided)});
    set_error(span, attempt.result);
    put(attempt.server, std::move(span));
    json store =
        new_span(trace, ids.next(), id, "store " + store_kind_name(attempt.store_kind), kInternal);
    if (set_times(store, attempt.store_submit, attempt.store_done)) {
      set_error(store, attempt.store_error);
      put(attempt.server, std::move(store));
    }
    for (const FragmentRecord& each : attempt.fragments) {
      json transfer =
          new_span(trace, ids.next(), id, each.is_push ? "RDMA WRITE" : "RDMA READ", kInternal);
      if (!set_times(transfer, each.started, each.done)) continue;
      transfer["attributes"] = json::array(
          {attribute("lunar.fragment", each.index), attribute("lunar.bytes", each.bytes)});
      set_error(transfer, each.result);
      put(attempt.server, std::move(transfer));
    }
  }

  void put(uint32_t process, json span) {
    spans_[std::min<std::size_t>(process, spans_.size() - 1)].push_back(std::move(span));
  }

  json resource_of(std::size_t process) const {
    if (process >= report_.processes.size())
      return json::array({attribute("service.name", "lunar")});
    const TracedProcess& each = report_.processes[process];
    return json::array({attribute("service.name", each.program.empty() ? "lunar" : each.program),
                        attribute("service.instance.id", each.name()),
                        attribute("host.name", each.host), attribute("process.pid", each.pid)});
  }

  const TraceReport& report_;
  std::vector<json> spans_;  // by process; the last: of processes that are not known
};

}  // namespace

std::string render_otlp(const TraceReport& report) {
  OtlpWriter writer(report);
  for (const IoRecord* io : shown_ios(report)) writer.add(*io);
  return writer.take();
}

}  // namespace lunar::tracing
