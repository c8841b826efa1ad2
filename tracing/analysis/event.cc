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
  int64_t Event::*member;
};
constexpr NumberField kNumbers[] = {
    {"attempt", &Event::attempt},
    {"opcode", &Event::opcode},
    {"lba", &Event::lba},
    {"blocks", &Event::blocks},
    {"bytes", &Event::bytes},
    {"status", &Event::status},
    {"sense_key", &Event::sense_key},
    {"asc_ascq", &Event::asc_ascq},
    {"image_id", &Event::image_id},
    {"type", &Event::type},
    {"offset", &Event::offset},
    {"length", &Event::length},
    {"error", &Event::error},
    {"result", &Event::result},
    {"reason", &Event::reason},
    {"extents", &Event::extents},
    {"index", &Event::index},
    {"object_no", &Event::object_no},
    {"path", &Event::path},
    {"pool", &Event::pool},
    {"pg", &Event::pg},
    {"osd", &Event::osd},
    {"epoch", &Event::epoch},
    {"bytes_inline", &Event::bytes_inline},
    {"bytes_one_sided", &Event::bytes_one_sided},
    {"seq", &Event::seq},
    {"front", &Event::front},
    {"data", &Event::data},
    {"generation", &Event::generation},
    {"messages", &Event::messages},
    {"offset_ns", &Event::offset_ns},
    {"rtt_ns", &Event::rtt_ns},
    {"qp", &Event::qp},
    {"wait_ns", &Event::wait_ns},
    {"ahead", &Event::ahead},
    {"kind", &Event::store_kind},
    {"fragment", &Event::fragment},
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

int64_t Event::*number_field(std::string_view name) noexcept {
  for (const NumberField& field : kNumbers) {
    if (field.name == name) return field.member;
  }
  return nullptr;
}

uint64_t Event::*id_field(std::string_view name) noexcept {
  if (name == "io_id") return &Event::io_id;
  if (name == "tid") return &Event::tid;
  if (name == "conn") return &Event::conn;
  return nullptr;
}

std::string Process::name() const {
  if (osd >= 0) return "osd." + std::to_string(osd);
  const std::string what = !program.empty() ? program : is_gateway ? "gateway" : "process";
  return what + "[" + std::to_string(pid) + "]";
}

}  // namespace lunar::tracing
