// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/ctf_decoder.h"

namespace lunar::tracing {
namespace {

// A trace is from outside: its texts are printed, so they are short and without control characters.
std::string recorded(std::string_view text) {
  constexpr std::size_t kMostBytes = 256;
  std::string kept(text.substr(0, kMostBytes));
  for (char& letter : kept) {
    if (static_cast<unsigned char>(letter) < 0x20 || letter == 0x7f) letter = '?';
  }
  return kept;
}

std::string environment(const bt_trace* trace, const char* name) {
  const bt_value* value = bt_trace_borrow_environment_entry_value_by_name_const(trace, name);
  if (value == nullptr || !bt_value_is_string(value)) return {};
  return recorded(bt_value_string_get(value));
}

int64_t environment_number(const bt_trace* trace, const char* name) {
  const bt_value* value = bt_trace_borrow_environment_entry_value_by_name_const(trace, name);
  if (value == nullptr || !bt_value_is_signed_integer(value)) return -1;
  return bt_value_integer_signed_get(value);
}

int64_t integer(const bt_field* field) {
  const bt_field_class_type type = bt_field_get_class_type(field);
  if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_UNSIGNED_INTEGER)) {
    return static_cast<int64_t>(bt_field_integer_unsigned_get_value(field));
  }
  if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_SIGNED_INTEGER)) {
    return bt_field_integer_signed_get_value(field);
  }
  return -1;
}

std::string text_of(const bt_field* field) {
  const bt_field_class_type type = bt_field_get_class_type(field);
  if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_STRING)) {
    return recorded(bt_field_string_get_value(field));
  }
  if (!bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_ARRAY)) return {};
  // procname is an array of characters, ended by a NUL.
  std::string text;
  for (uint64_t i = 0; i < bt_field_array_get_length(field); ++i) {
    const int64_t letter = integer(bt_field_array_borrow_element_field_by_index_const(field, i));
    if (letter <= 0) break;
    text += static_cast<char>(letter);
  }
  return recorded(text);
}

int member_index(const bt_field_class* structure, const char* name) {
  if (structure == nullptr) return -1;
  for (uint64_t i = 0; i < bt_field_class_structure_get_member_count(structure); ++i) {
    const auto* member = bt_field_class_structure_borrow_member_by_index_const(structure, i);
    if (std::string_view(bt_field_class_structure_member_get_name(member)) == name) {
      return static_cast<int>(i);
    }
  }
  return -1;
}

int64_t time_of(const bt_clock_snapshot* snapshot) {
  int64_t ns = 0;
  if (bt_clock_snapshot_get_ns_from_origin(snapshot, &ns) !=
      BT_CLOCK_SNAPSHOT_GET_NS_FROM_ORIGIN_STATUS_OK) {
    return kNever;
  }
  return ns;
}

}  // namespace

const CtfDecoder::ClassPlan& CtfDecoder::plan_of(const bt_event_class* event_class) {
  const auto [at, is_new] = classes_.try_emplace(event_class);
  ClassPlan& plan = at->second;
  if (!is_new) return plan;
  const char* name = bt_event_class_get_name(event_class);
  const auto kind = name == nullptr ? std::nullopt : event_kind_of(name);
  const bt_field_class* payload = bt_event_class_borrow_payload_field_class_const(event_class);
  if (!kind || payload == nullptr) return plan;
  plan.is_ours = true;
  plan.kind = *kind;
  for (uint64_t i = 0; i < bt_field_class_structure_get_member_count(payload); ++i) {
    const auto* member = bt_field_class_structure_borrow_member_by_index_const(payload, i);
    const std::string_view field = bt_field_class_structure_member_get_name(member);
    const bt_field_class_type type =
        bt_field_class_get_type(bt_field_class_structure_member_borrow_field_class_const(member));
    const bool is_unsigned = bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_UNSIGNED_INTEGER);
    const bool is_signed = bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_SIGNED_INTEGER);
    if (bt_field_class_type_is(type, BT_FIELD_CLASS_TYPE_STRING)) {
      plan.slots.push_back({i, FieldSlot::kText});
    } else if (const auto id = id_field(field); id != nullptr && is_unsigned) {
      plan.slots.push_back({i, FieldSlot::kId, nullptr, id});
    } else if (const auto number = number_field(field);
               number != nullptr && (is_unsigned || is_signed)) {
      plan.slots.push_back(
          {i, is_unsigned ? FieldSlot::kUnsigned : FieldSlot::kSigned, number, nullptr});
    }
  }
  const bt_field_class* context = bt_stream_class_borrow_event_common_context_field_class_const(
      bt_event_class_borrow_stream_class_const(event_class));
  plan.pid_index = member_index(context, "vpid");
  plan.program_index = member_index(context, "procname");
  return plan;
}

CtfDecoder::StreamPlan& CtfDecoder::plan_of(const bt_stream* stream) {
  const auto [at, is_new] = streams_.try_emplace(stream);
  StreamPlan& plan = at->second;
  if (is_new) {
    const bt_trace* trace = bt_stream_borrow_trace_const(stream);
    plan.host = environment(trace, "hostname");
    plan.pid = environment_number(trace, "vpid");
    plan.program = environment(trace, "procname");
  }
  return plan;
}

uint32_t CtfDecoder::process_of(const ClassPlan& plan, const bt_event* event, EventKind kind) {
  StreamPlan& stream = plan_of(bt_event_borrow_stream_const(event));
  const bt_field* context = bt_event_borrow_common_context_field_const(event);
  int64_t pid = stream.pid;
  if (pid < 0 && context != nullptr && plan.pid_index >= 0) {
    pid = integer(bt_field_structure_borrow_member_field_by_index_const(
        context, static_cast<uint64_t>(plan.pid_index)));
  }
  if (pid != stream.latest_pid || pid < 0 || stream.process_by_pid.empty()) {
    auto [known, is_new] = stream.process_by_pid.try_emplace(pid, 0);
    if (is_new) {
      const auto [index, is_first] =
          process_index_.try_emplace({stream.host, pid}, static_cast<uint32_t>(processes_.size()));
      if (is_first) processes_.push_back({stream.host, pid, stream.program});
      known->second = index->second;
    }
    stream.latest_pid = pid;
    stream.latest = known->second;
  }
  TracedProcess& process = processes_[stream.latest];
  if (process.program.empty() && context != nullptr && plan.program_index >= 0) {
    process.program = text_of(bt_field_structure_borrow_member_field_by_index_const(
        context, static_cast<uint64_t>(plan.program_index)));
  }
  if (kind <= EventKind::kOpDone) process.is_gateway = true;
  if (kind <= EventKind::kCmdAbort) process.is_target = true;
  return stream.latest;
}

std::optional<TraceEvent> CtfDecoder::decode(const bt_message* message) {
  const bt_event* source = bt_message_event_borrow_event_const(message);
  const ClassPlan& plan = plan_of(bt_event_borrow_class_const(source));
  if (!plan.is_ours) {
    ++foreign_events_;
    return std::nullopt;
  }
  TraceEvent event;
  event.kind = plan.kind;
  event.time_ns = time_of(bt_message_event_borrow_default_clock_snapshot_const(message));
  event.process = process_of(plan, source, plan.kind);
  const bt_field* payload = bt_event_borrow_payload_field_const(source);
  for (const FieldSlot& slot : plan.slots) {
    const bt_field* field =
        bt_field_structure_borrow_member_field_by_index_const(payload, slot.index);
    switch (slot.type) {
      case FieldSlot::kSigned:
        event.*slot.number = bt_field_integer_signed_get_value(field);
        break;
      case FieldSlot::kUnsigned:
        event.*slot.number = static_cast<int64_t>(bt_field_integer_unsigned_get_value(field));
        break;
      case FieldSlot::kId:
        event.*slot.id = bt_field_integer_unsigned_get_value(field);
        break;
      case FieldSlot::kText:
        text_ = recorded(bt_field_string_get_value(field));
        event.text = text_;
        break;
    }
  }
  return event;
}

std::optional<Loss> CtfDecoder::loss(const bt_message* message) {
  Loss loss;
  const bt_stream* stream = nullptr;
  const bt_clock_snapshot* begin = nullptr;
  const bt_clock_snapshot* end = nullptr;
  uint64_t count = 1;  // LTTng may know that, but not how many
  if (bt_message_get_type(message) == BT_MESSAGE_TYPE_DISCARDED_EVENTS) {
    stream = bt_message_discarded_events_borrow_stream_const(message);
    bt_message_discarded_events_get_count(message, &count);
    loss.events = count;
    const auto* stream_class = bt_stream_borrow_class_const(stream);
    if (bt_stream_class_discarded_events_have_default_clock_snapshots(stream_class)) {
      begin = bt_message_discarded_events_borrow_beginning_default_clock_snapshot_const(message);
      end = bt_message_discarded_events_borrow_end_default_clock_snapshot_const(message);
    }
  } else if (bt_message_get_type(message) == BT_MESSAGE_TYPE_DISCARDED_PACKETS) {
    stream = bt_message_discarded_packets_borrow_stream_const(message);
    bt_message_discarded_packets_get_count(message, &count);
    loss.packets = count;
  } else {
    return std::nullopt;
  }
  if (begin != nullptr) loss.begin = time_of(begin);
  if (end != nullptr) loss.end = time_of(end);
  const char* name = bt_stream_get_name(stream);
  loss.where = "stream " +
               (name == nullptr ? std::to_string(bt_stream_get_id(stream)) : recorded(name)) +
               " of " + plan_of(stream).host;
  return loss;
}

}  // namespace lunar::tracing
