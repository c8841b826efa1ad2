// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <babeltrace2/babeltrace.h>

#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "tracing/analysis/event.h"
#include "tracing/analysis/report.h"

namespace lunar::tracing {

// Turns messages of libbabeltrace2 into Events. Learns each event class once, by the names of its
// fields, so that traces of older and newer programs are read as far as they agree. Loop-bound;
// borrows messages for the call only.
class CtfDecoder {
 public:
  // None for what is not an event of ours. Its text lives until the next call.
  std::optional<TraceEvent> decode(const bt_message* message);
  // Of a discarded-events or discarded-packets message.
  std::optional<Loss> loss(const bt_message* message);

  const Processes& processes() const noexcept { return processes_; }
  uint64_t foreign_events() const noexcept { return foreign_events_; }

 private:
  struct FieldSlot {
    uint64_t index;  // in the payload
    enum { kSigned, kUnsigned, kId, kText } type;
    int64_t TraceEvent::*number = nullptr;
    uint64_t TraceEvent::*id = nullptr;
  };
  struct ClassPlan {
    bool is_ours = false;
    EventKind kind = EventKind::kCmdStart;
    std::vector<FieldSlot> slots;
    int pid_index = -1, program_index = -1;  // in the common context
  };
  struct StreamPlan {
    std::string host;
    std::map<int64_t, uint32_t> process_by_pid;
    int64_t pid = -1;  // of per-process buffers; -1: in the context of each event
    std::string program;
    int64_t latest_pid = -1;
    uint32_t latest = 0;
  };

  const ClassPlan& plan_of(const bt_event_class* event_class);
  StreamPlan& plan_of(const bt_stream* stream);
  uint32_t process_of(const ClassPlan& plan, const bt_event* event, EventKind kind);

  std::unordered_map<const bt_event_class*, ClassPlan> classes_;
  std::unordered_map<const bt_stream*, StreamPlan> streams_;
  std::map<std::pair<std::string, int64_t>, uint32_t> process_index_;
  Processes processes_;
  std::string text_;  // of the latest event
  uint64_t foreign_events_ = 0;
};

}  // namespace lunar::tracing
