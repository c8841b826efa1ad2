// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/event.h"

#include <array>
#include <unordered_map>

namespace lunar::tracing {
namespace {

constexpr std::array<std::string_view, kEventKinds> kNames = {
    "lunar_scsi:cmd_start",       "lunar_scsi:cmd_done",         "lunar_scsi:cmd_returned",
    "lunar_scsi:cmd_abort",       "lunar_gateway:io_start",      "lunar_gateway:io_split",
    "lunar_gateway:extent_path",  "lunar_gateway:extent_submit", "lunar_gateway:io_done",
    "lunar_objecter:op_submit",   "lunar_objecter:op_wait",      "lunar_objecter:op_resend",
    "lunar_objecter:op_delivery", "lunar_objecter:op_reply",     "lunar_objecter:op_cancel",
    "lunar_objecter:op_done",     "lunar_objecter:map_received", "lunar_msgr:frame_queued",
    "lunar_msgr:frame_sent",      "lunar_msgr:frame_received",   "lunar_msgr:link_up",
    "lunar_msgr:link_down",       "lunar_msgr:session_open",     "lunar_msgr:session_replay",
    "lunar_msgr:session_reset",   "lunar_msgr:credit_wait",      "lunar_msgr:credit_resume",
    "lunar_msgr:keepalive",       "lunar_osd:op_received",       "lunar_osd:op_queued",
    "lunar_osd:op_start",         "lunar_osd:pull_start",        "lunar_osd:pull_done",
    "lunar_osd:store_submit",     "lunar_osd:store_done",        "lunar_osd:push_start",
    "lunar_osd:push_done",        "lunar_osd:op_replied",        "lunar_osd:op_cancelled",
};

struct NumberField {
  std::string_view name;
  int64_t TraceEvent::*member;
};
constexpr NumberField kNumbers[] = {
    {"attempt", &TraceEvent::attempt},
    {"opcode", &TraceEvent::opcode},
    {"lba", &TraceEvent::lba},
    {"blocks", &TraceEvent::blocks},
    {"bytes", &TraceEvent::bytes},
    {"status", &TraceEvent::status},
    {"sense_key", &TraceEvent::sense_key},
    {"asc_ascq", &TraceEvent::asc_ascq},
    {"image_id", &TraceEvent::image_id},
    {"type", &TraceEvent::type},
    {"offset", &TraceEvent::offset},
    {"length", &TraceEvent::length},
    {"error", &TraceEvent::error},
    {"result", &TraceEvent::result},
    {"reason", &TraceEvent::reason},
    {"extents", &TraceEvent::extents},
    {"index", &TraceEvent::index},
    {"object_no", &TraceEvent::object_no},
    {"path", &TraceEvent::path},
    {"pool", &TraceEvent::pool},
    {"pg", &TraceEvent::pg},
    {"osd", &TraceEvent::osd},
    {"epoch", &TraceEvent::epoch},
    {"bytes_inline", &TraceEvent::bytes_inline},
    {"bytes_one_sided", &TraceEvent::bytes_one_sided},
    {"seq", &TraceEvent::seq},
    {"front", &TraceEvent::front},
    {"data", &TraceEvent::data},
    {"generation", &TraceEvent::generation},
    {"messages", &TraceEvent::messages},
    {"offset_ns", &TraceEvent::offset_ns},
    {"rtt_ns", &TraceEvent::rtt_ns},
    {"qp", &TraceEvent::qp},
    {"wait_ns", &TraceEvent::wait_ns},
    {"ahead", &TraceEvent::ahead},
    {"kind", &TraceEvent::store_kind},
    {"fragment", &TraceEvent::fragment},
};

}  // namespace

std::optional<EventKind> event_kind_of(std::string_view name) {
  static const auto* const kinds = [] {
    auto* map = new std::unordered_map<std::string_view, EventKind>;
    for (std::size_t i = 0; i < kNames.size(); ++i) map->emplace(kNames[i], EventKind(i));
    return map;
  }();
  const auto found = kinds->find(name);
  if (found == kinds->end()) return std::nullopt;
  return found->second;
}

std::string_view name_of(EventKind kind) noexcept { return kNames[static_cast<std::size_t>(kind)]; }

int64_t TraceEvent::*number_field(std::string_view name) noexcept {
  for (const NumberField& field : kNumbers) {
    if (field.name == name) return field.member;
  }
  return nullptr;
}

uint64_t TraceEvent::*id_field(std::string_view name) noexcept {
  if (name == "io_id") return &TraceEvent::io_id;
  if (name == "tid") return &TraceEvent::tid;
  if (name == "conn") return &TraceEvent::conn;
  return nullptr;
}

std::string TracedProcess::name() const {
  if (osd >= 0) return "osd." + std::to_string(osd);
  const std::string what = !program.empty() ? program : is_gateway ? "gateway" : "process";
  return what + "[" + std::to_string(pid) + "]";
}

}  // namespace lunar::tracing
