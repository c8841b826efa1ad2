// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/stages.h"

#include <algorithm>

namespace lunar::tracing {
namespace {

struct Words {
  std::string_view name, description, place;
};

// In the order of IoStage. In `place`, % is the server.
constexpr std::array<Words, kStages> kWords = {{
    {"parse", "cmd_start -> io_start", "in the plugin, before the IO began"},
    {"window", "io_start -> op_submit",
     "before its op was submitted (splitting, or waiting for ops of the same IO)"},
    {"target", "op_submit -> frame_queued",
     "waiting in the gateway for a map, for % to be up, or for the throttle"},
    {"retries", "first frame_queued -> last", "with earlier attempts that led to nothing"},
    {"send queue", "frame_queued -> frame_sent", "in the gateway's send queue to %"},
    {"to server", "frame_sent -> frame_received",
     "between the gateway's send and %'s receipt: the network, or % not reading"},
    {"dispatch", "frame_received -> op_received", "in %, between the messenger and the op"},
    {"object queue", "op_received -> op_start", "in %, waiting for its turn on its object"},
    {"pull", "op_start -> store_submit", "in %, fetching the payload"},
    {"store", "store_submit -> store_done", "in the store of %"},
    {"push", "store_done -> op_replied", "in %, between store and reply"},
    {"reply queue", "op_replied -> frame_sent", "in the send queue of %"},
    {"to client", "frame_sent -> frame_received", "between %'s reply and the gateway's receipt"},
    {"finish", "frame_received -> op_done", "in the gateway, finishing the op"},
    {"join", "op_done -> io_done", "in the gateway, joining the ops"},
    {"status", "io_done -> cmd_done", "in the plugin, making the status"},
    {"return", "cmd_done -> cmd_returned", "on the way back into tgt's event loop"},
    {"unknown", "events are missing", "unaccounted for, because events are missing"},
}};

const Words& words(IoStage stage) noexcept { return kWords[static_cast<std::size_t>(stage)]; }

// Collects intervals from known times in order; what runs backwards (clocks of two hosts) has
// length 0.
class Path {
 public:
  explicit Path(int64_t from) : at_(from) {}
  void to(int64_t time, IoStage stage) {
    if (time == kNever) {
      missed_ = true;
      return;
    }
    const int64_t end = std::max(time, at_);
    intervals_.push_back({missed_ ? IoStage::kUnknown : stage, at_, end});
    at_ = end;
    missed_ = false;
  }
  // A station that an op may go without: its time then belongs to the next one.
  void maybe_to(int64_t time, IoStage stage) {
    if (time != kNever) to(time, stage);
  }
  std::vector<Interval> take() { return std::move(intervals_); }

 private:
  std::vector<Interval> intervals_;
  int64_t at_;
  bool missed_ = false;
};

void add_attempt(Path& path, const Attempt& attempt) {
  path.to(attempt.sent, IoStage::kSendQueue);
  path.to(attempt.arrived, IoStage::kWireOut);
  path.to(attempt.received, IoStage::kDispatch);
  // A remembered result is replied without being executed again.
  path.maybe_to(attempt.started, IoStage::kObjectQueue);
  path.maybe_to(attempt.store_submit, IoStage::kPull);
  path.maybe_to(attempt.store_done, IoStage::kStore);
  path.to(attempt.replied, attempt.store_done != kNever ? IoStage::kPush : IoStage::kStore);
  path.to(attempt.reply_sent, IoStage::kReplyQueue);
  path.to(attempt.reply_arrived, IoStage::kWireBack);
}

}  // namespace

std::string_view name_of(IoStage stage) noexcept { return words(stage).name; }
std::string_view description_of(IoStage stage) noexcept { return words(stage).description; }

std::string place_of(IoStage stage, int64_t osd) {
  const std::string server = osd < 0 ? "its server" : "osd." + std::to_string(osd);
  std::string text;
  for (char letter : words(stage).place) {
    if (letter == '%') {
      text += server;
    } else {
      text += letter;
    }
  }
  return text;
}

std::vector<Interval> intervals_of(const OpRecord& op) {
  if (op.submitted == kNever || op.done == kNever) return {};
  Path path(op.submitted);
  const auto first = std::find_if(op.attempts.begin(), op.attempts.end(),
                                  [](const Attempt& each) { return each.queued != kNever; });
  if (first != op.attempts.end()) {
    path.to(first->queued, IoStage::kTarget);
    const Attempt& last = op.attempts.back();
    if (&last != &*first) path.to(last.queued, IoStage::kRetries);
    if (op.result == 0 || last.is_answered()) {
      add_attempt(path, last);
      path.to(op.done, IoStage::kFinish);
    } else {
      // Given up: it went as far as it is known to have come, and stayed there.
      path.maybe_to(last.sent, IoStage::kSendQueue);
      path.maybe_to(last.arrived, IoStage::kWireOut);
      path.maybe_to(last.received, IoStage::kDispatch);
      path.maybe_to(last.started, IoStage::kObjectQueue);
      path.maybe_to(last.store_submit, IoStage::kPull);
      path.maybe_to(last.store_done, IoStage::kStore);
      path.to(op.done, last.started != kNever    ? IoStage::kStore
                       : last.received != kNever ? IoStage::kObjectQueue
                       : last.sent != kNever     ? IoStage::kWireOut
                                                 : IoStage::kSendQueue);
    }
  } else {
    path.to(op.done, IoStage::kTarget);
  }
  std::vector<Interval> all = path.take();
  // A server that goes on after the op was given up is no part of it.
  for (Interval& each : all) {
    each.begin = std::min(each.begin, op.done);
    each.end = std::min(each.end, op.done);
  }
  return all;
}

std::vector<Interval> intervals_of(const IoRecord& io) {
  const int64_t began = io.began();
  const int64_t ended = io.ended();
  if (began == kNever || ended == kNever) return {};
  Path path(began);
  int64_t first_io = kNever;
  int64_t io_done = kNever;
  for (const ImageIo& each : io.ios) {
    if (first_io == kNever) first_io = each.started;
    io_done = std::max(io_done, each.done);
  }
  if (io.cmd_started != kNever) path.maybe_to(first_io, IoStage::kParse);
  std::vector<Interval> all;
  if (const OpRecord* op = io.critical_op(); op != nullptr && op->done != kNever) {
    path.to(op->submitted, IoStage::kWindow);
    all = path.take();
    const std::vector<Interval> inner = intervals_of(*op);
    all.insert(all.end(), inner.begin(), inner.end());
    path = Path(op->done);
  }
  path.maybe_to(io_done, IoStage::kJoin);
  if (io.is_command()) {
    path.maybe_to(io.cmd_done, IoStage::kStatus);
    path.maybe_to(io.cmd_returned, IoStage::kReturn);
  }
  const std::vector<Interval> rest = path.take();
  all.insert(all.end(), rest.begin(), rest.end());
  return all;
}

}  // namespace lunar::tracing
