// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cinttypes>
#include <cstdio>

#include "tracing/analysis/explain.h"
#include "tracing/analysis/render.h"
#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

struct Line {
  int64_t at;
  int depth;
  std::string process, text;
};

class Tree {
 public:
  Tree(const IoRecord& io, const TraceReport& report) : io_(io), report_(report) {}

  std::string render() {
    add_command();
    for (const ImageIo& each : io_.ios) add_image_io(each);
    for (const Extent& each : io_.extents) {
      if (each.tid == 0 || io_.find_op(each.tid) == nullptr)
        add(kNever, 2, gateway(), extent_text(each));
    }
    for (const OpRecord& op : io_.ops) add_op(op);
    const int64_t zero = io_.began() != kNever ? io_.began() : io_.first;
    std::string text = explain(io_, report_) + "\n\n        us  process\n";
    for (const Line& each : lines_) {
      char when[16] = "         -";
      if (each.at != kNever) {
        std::snprintf(when, sizeof when, "%10.1f", static_cast<double>(each.at - zero) / 1e3);
      }
      char head[64];
      std::snprintf(head, sizeof head, "%s  %-14s ", when, each.process.c_str());
      text += head + std::string(static_cast<std::size_t>(each.depth) * 2, ' ') + each.text + "\n";
    }
    text += "\nWhere the time went\n";
    for (const Interval& each : intervals_of(io_)) {
      char row[160];
      std::snprintf(row, sizeof row, "%10.1f us  %-13s %s\n",
                    static_cast<double>(each.length()) / 1e3,
                    std::string(name_of(each.stage)).c_str(),
                    std::string(description_of(each.stage)).c_str());
      text += row;
    }
    const std::vector<std::string> missing = missing_in(io_);
    for (const std::string& each : missing) text += "not recorded: " + each + "\n";
    return text;
  }

 private:
  void add(int64_t at, int depth, std::string process, std::string text) {
    lines_.push_back({at, depth, std::move(process), std::move(text)});
  }
  void add_if(int64_t at, int depth, const std::string& process, std::string text) {
    if (at != kNever) add(at, depth, process, std::move(text));
  }
  std::string name(uint32_t process) const {
    return process < report_.processes.size() ? report_.processes[process].name() : "?";
  }
  std::string gateway() const { return name(io_.process); }

  void add_command() {
    if (!io_.is_command()) return;
    char text[160];
    std::snprintf(text, sizeof text, "cmd_start %s lba=%" PRId64 " %s",
                  opcode_name(io_.opcode).c_str(), io_.lba,
                  bytes_text(static_cast<uint64_t>(io_.cmd_bytes)).c_str());
    add_if(io_.cmd_started, 0, gateway(), text);
    add_if(io_.cmd_aborted, 0, gateway(), "cmd_abort: the initiator gave it up");
    std::snprintf(text, sizeof text,
                  "cmd_done status=%02" PRIX64 "h sense=%" PRIX64 "h/%04" PRIX64 "h",
                  static_cast<uint64_t>(io_.status), static_cast<uint64_t>(io_.sense_key),
                  static_cast<uint64_t>(io_.asc_ascq));
    add_if(io_.cmd_done, 0, gateway(), text);
    add_if(io_.cmd_returned, 0, gateway(), "cmd_returned");
  }

  void add_image_io(const ImageIo& io) {
    add_if(io.started, 1, gateway(),
           "io_start " + io_type_name(io.type) + " " +
               bytes_text(static_cast<uint64_t>(io.length)) + " at " + std::to_string(io.offset));
    add_if(io.split_at, 1, gateway(),
           "io_split " + split_reason_name(io.split_reason) + ", " + std::to_string(io.extents) +
               " extents");
    add_if(io.done, 1, gateway(), "io_done error=" + std::to_string(io.error));
  }

  static std::string extent_text(const Extent& extent) {
    return "extent_path object " + std::to_string(extent.object_no) + " +" +
           std::to_string(extent.offset) + " " + bytes_text(static_cast<uint64_t>(extent.length)) +
           (extent.path == kTracePathInline ? " inline: " : " one_sided: ") +
           path_reason_name(extent.reason);
  }

  void add_op(const OpRecord& op) {
    std::string text = "op tid=" + std::to_string(op.tid) + " pg=" + std::to_string(op.pool) + "." +
                       std::to_string(op.pg);
    for (const Extent& each : io_.extents) {
      if (each.tid == op.tid) text += ", " + extent_text(each);
    }
    add(op.submitted, 2, gateway(), text);
    for (const OpWait& each : op.waits) {
      add_if(each.at, 3, gateway(), "op_wait " + wait_reason_name(each.reason));
    }
    for (const Attempt& each : op.attempts) add_attempt(each);
    add_if(op.cancelled, 3, gateway(), "op_cancel " + cancel_reason_name(op.cancel_reason));
    add_if(op.done, 3, gateway(), "op_done result=" + std::to_string(op.result));
  }

  void add_attempt(const Attempt& attempt) {
    std::string text = "attempt " + std::to_string(attempt.number) + " to osd." +
                       std::to_string(attempt.osd) + ", epoch " + std::to_string(attempt.epoch);
    if (attempt.reason >= 0) text += ", because of " + resend_reason_name(attempt.reason);
    add(attempt.begun, 3, gateway(), text);
    const std::string server = name(attempt.server);
    add_if(attempt.queued, 4, gateway(), "frame_queued");
    add_if(attempt.sent, 4, gateway(),
           "frame_sent seq=" + std::to_string(attempt.seq) +
               (attempt.replays > 0 ? ", and " + std::to_string(attempt.replays) +
                                          " times more after its link broke"
                                    : ""));
    if (attempt.path >= 0) {
      add(kNever, 4, gateway(),
          std::string("op_delivery ") +
              (attempt.path == kTracePathInline ? "inline: " : "one_sided: ") +
              path_reason_name(attempt.path_reason));
    }
    add_if(attempt.arrived, 4, server, "frame_received");
    add_if(attempt.received, 4, server, "op_received");
    add_if(attempt.started, 4, server, "op_start, behind " + std::to_string(attempt.ahead));
    for (const FragmentRecord& each : attempt.fragments) {
      const std::string what = (each.is_push ? "push " : "pull ") + std::to_string(each.index);
      add_if(each.started, 5, server,
             what + "_start " + bytes_text(static_cast<uint64_t>(each.bytes)));
      add_if(each.done, 5, server, what + "_done result=" + std::to_string(each.result));
    }
    add_if(attempt.store_submit, 4, server, "store_submit " + store_kind_name(attempt.store_kind));
    add_if(attempt.store_done, 4, server,
           "store_done error=" + std::to_string(attempt.store_error));
    add_if(attempt.replied, 4, server, "op_replied");
    if (attempt.is_cancelled) add(kNever, 4, server, "op_cancelled");
    add_if(attempt.reply_sent, 4, server,
           "frame_sent (reply)" + (attempt.reply_replays > 0
                                       ? ", and " + std::to_string(attempt.reply_replays) +
                                             " times more after its link broke"
                                       : std::string()));
    add_if(attempt.reply_arrived, 4, gateway(), "frame_received (reply)");
    add_if(attempt.reply, 4, gateway(), "op_reply result=" + std::to_string(attempt.result));
  }

  const IoRecord& io_;
  const TraceReport& report_;
  std::vector<Line> lines_;
};

}  // namespace

std::string render_tree(const IoRecord& io, const TraceReport& report) {
  return Tree(io, report).render();
}

}  // namespace lunar::tracing
