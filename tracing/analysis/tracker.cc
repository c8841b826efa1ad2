// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/tracker.h"

#include <algorithm>
#include <utility>

namespace lunar::tracing {
namespace {

// objecter's MessageType. Acks, cancels and maps are not followed.
constexpr int64_t kOpMessage = 1;
constexpr int64_t kReplyMessage = 2;

OpRecord& op_of(IoRecord& io, uint64_t tid) {
  // The newest is asked for most.
  for (auto op = io.ops.rbegin(); op != io.ops.rend(); ++op) {
    if (op->tid == tid) return *op;
  }
  io.ops.push_back({});
  io.ops.back().tid = tid;
  return io.ops.back();
}

Attempt& attempt_of(OpRecord& op, int64_t number) {
  const auto at = std::find_if(op.attempts.begin(), op.attempts.end(),
                               [&](const Attempt& each) { return each.number >= number; });
  if (at != op.attempts.end() && at->number == number) return *at;
  const auto made = op.attempts.insert(at, Attempt{});
  made->number = number;
  return *made;
}

Attempt& latest_attempt(OpRecord& op) {
  return op.attempts.empty() ? attempt_of(op, 1) : op.attempts.back();
}

// The newest one that this server has, for events that do not say.
Attempt& attempt_at(OpRecord& op, uint32_t server) {
  for (auto each = op.attempts.rbegin(); each != op.attempts.rend(); ++each) {
    if (each->server == server) return *each;
  }
  Attempt& latest = latest_attempt(op);
  if (latest.server == UINT32_MAX) latest.server = server;
  return latest;
}

bool has_ended(const IoRecord& io) {
  if (io.cmd_started != kNever) return io.cmd_done != kNever;
  const bool ios_done = std::all_of(io.ios.begin(), io.ios.end(),
                                    [](const ImageIo& each) { return each.done != kNever; });
  if (!io.ios.empty()) return ios_done;
  return std::all_of(io.ops.begin(), io.ops.end(), [](const OpRecord& op) {
    return op.submitted == kNever || op.done != kNever;
  });
}

bool has_loose_ends(const IoRecord& io) {
  for (const OpRecord& op : io.ops) {
    for (const Attempt& each : op.attempts) {
      if (each.sent != kNever && !each.is_answered() && !each.is_cancelled) return true;
    }
  }
  return false;
}

}  // namespace

void Tracker::add(const TraceEvent& event) {
  now_ = std::max(now_, event.time_ns);
  if (event.io_id == 0) return;
  if (latest_ == nullptr || latest_->io.io_id != event.io_id) {
    auto& live = live_[event.io_id];
    if (live == nullptr) {
      live = std::make_unique<Live>();
      live->io.io_id = event.io_id;
    }
    latest_ = live.get();
  }
  IoRecord& io = latest_->io;
  ++io.events;
  if (io.first == kNever || event.time_ns < io.first) io.first = event.time_ns;
  io.last = std::max(io.last, event.time_ns);
  apply(*latest_, event);
  switch (event.kind) {
    case EventKind::kCmdDone:
    case EventKind::kIoDone:
    case EventKind::kOpDone:
    case EventKind::kOpReplied:
    case EventKind::kOpCancelled:
      if (has_ended(io)) ended_.push_back({event.io_id, now_});
      break;
    default:
      break;
  }
  hand_out_old();
}

void Tracker::hand_out_old() {
  const auto old_enough = [this](const std::deque<EndedIo>& queue, int64_t linger) {
    return !queue.empty() &&
           (queue.front().at + linger < now_ || queue.size() > options_.max_lingering);
  };
  while (old_enough(ended_, options_.linger_ns)) {
    const EndedIo ended = ended_.front();
    ended_.pop_front();
    const auto live = live_.find(ended.io_id);
    if (live == live_.end() || !has_ended(live->second->io)) continue;
    if (has_loose_ends(live->second->io)) {
      loose_.push_back(ended);
    } else {
      hand_out(ended.io_id);
    }
  }
  while (old_enough(loose_, options_.loose_linger_ns)) {
    const uint64_t io_id = loose_.front().io_id;
    loose_.pop_front();
    if (live_.contains(io_id)) hand_out(io_id);
  }
}

void Tracker::hand_out(uint64_t io_id) {
  auto node = live_.extract(io_id);
  if (latest_ == node.mapped().get()) latest_ = nullptr;
  on_io_(std::move(node.mapped()->io));
}

void Tracker::finish() {
  std::vector<std::pair<int64_t, uint64_t>> left;
  for (const auto& [io_id, live] : live_) left.emplace_back(live->io.first, io_id);
  std::sort(left.begin(), left.end());
  for (const auto& [at, io_id] : left) hand_out(io_id);
  ended_.clear();
  loose_.clear();
}

void Tracker::apply(Live& live, const TraceEvent& event) {
  switch (event.kind) {
    case EventKind::kCmdStart:
    case EventKind::kCmdDone:
    case EventKind::kCmdReturned:
    case EventKind::kCmdAbort:
      return apply_to_command(live.io, event);
    case EventKind::kIoStart:
    case EventKind::kIoSplit:
    case EventKind::kExtentPath:
    case EventKind::kExtentSubmit:
    case EventKind::kIoDone:
      return apply_to_image_io(live.io, event);
    case EventKind::kFrameQueued:
    case EventKind::kFrameSent:
    case EventKind::kFrameReceived:
      return apply_frame(live, event);
    default:
      if (event.tid != 0) apply_to_op(live, event);
  }
}

void Tracker::apply_to_command(IoRecord& io, const TraceEvent& event) {
  io.process = event.process;
  switch (event.kind) {
    case EventKind::kCmdStart:
      io.cmd_started = event.time_ns;
      io.lun = event.text;
      io.opcode = event.opcode;
      io.lba = event.lba;
      io.cmd_bytes = event.bytes;
      return;
    case EventKind::kCmdDone:
      io.cmd_done = event.time_ns;
      io.status = event.status;
      io.sense_key = event.sense_key;
      io.asc_ascq = event.asc_ascq;
      return;
    case EventKind::kCmdReturned:
      io.cmd_returned = event.time_ns;
      return;
    default:
      io.cmd_aborted = event.time_ns;
  }
}

void Tracker::apply_to_image_io(IoRecord& io, const TraceEvent& event) {
  io.process = event.process;
  // Several of one command go on at once only for UNMAP; their ends are told apart by nothing but
  // order.
  const auto open = [&io](auto is_open) -> ImageIo& {
    for (ImageIo& each : io.ios) {
      if (is_open(each)) return each;
    }
    io.ios.push_back({});
    return io.ios.back();
  };
  switch (event.kind) {
    case EventKind::kIoStart: {
      ImageIo started;
      started.image_id = static_cast<uint64_t>(event.image_id);
      started.type = event.type;
      started.offset = event.offset;
      started.length = event.length;
      started.started = event.time_ns;
      io.ios.push_back(started);
      return;
    }
    case EventKind::kIoSplit: {
      ImageIo& each = open([](const ImageIo& one) { return one.split_at == kNever; });
      each.split_at = event.time_ns;
      each.split_reason = event.reason;
      each.extents = event.extents;
      each.offset = event.offset;
      each.length = event.length;
      return;
    }
    case EventKind::kExtentPath: {
      ImageIo& each = open([](const ImageIo& one) {
        return one.split_at != kNever && one.extents_seen < one.extents;
      });
      ++each.extents_seen;
      io.extents.push_back(
          {event.object_no, event.offset, event.length, event.path, event.reason, 0});
      return;
    }
    case EventKind::kExtentSubmit:
      for (auto each = io.extents.rbegin(); each != io.extents.rend(); ++each) {
        if (each->tid == 0 && each->object_no == event.object_no && each->offset == event.offset) {
          each->tid = event.tid;
          return;
        }
      }
      ++io.orphans;
      return;
    default: {
      ImageIo& each = open([](const ImageIo& one) { return one.done == kNever; });
      each.done = event.time_ns;
      each.error = event.error;
    }
  }
}

void Tracker::apply_to_op(Live& live, const TraceEvent& event) {
  OpRecord& op = op_of(live.io, event.tid);
  const auto mine = [&] { live.io.process = event.process; };
  switch (event.kind) {
    case EventKind::kOpSubmit: {
      mine();
      op.submitted = event.time_ns;
      op.pool = event.pool;
      op.pg = event.pg;
      op.bytes = event.bytes;
      Attempt& first = attempt_of(op, event.attempt);
      first.begun = event.time_ns;
      first.osd = event.osd;
      first.epoch = event.epoch;
      return;
    }
    case EventKind::kOpWait:
      mine();
      op.waits.push_back({event.time_ns, event.reason});
      return;
    case EventKind::kOpResend: {
      mine();
      Attempt& attempt = attempt_of(op, event.attempt);
      attempt.begun = event.time_ns;
      attempt.reason = event.reason;
      attempt.osd = event.osd;
      attempt.epoch = event.epoch;
      return;
    }
    case EventKind::kOpDelivery: {
      mine();
      Attempt& attempt = attempt_of(op, event.attempt);
      attempt.path = event.path;
      attempt.path_reason = event.reason;
      return;
    }
    case EventKind::kOpReply: {
      mine();
      Attempt& attempt = attempt_of(op, event.attempt);
      attempt.reply = event.time_ns;
      attempt.osd = event.osd;
      attempt.result = event.result;
      attempt.bytes_inline = event.bytes_inline;
      attempt.bytes_one_sided = event.bytes_one_sided;
      std::erase_if(live.arrivals, [&](const Live::FrameArrival& each) {
        if (each.tid != event.tid || !each.is_reply) return false;
        attempt.reply_arrived = each.at;
        return true;
      });
      return;
    }
    case EventKind::kOpCancel:
      mine();
      op.cancelled = event.time_ns;
      op.cancel_reason = event.reason;
      return;
    case EventKind::kOpDone:
      mine();
      op.done = event.time_ns;
      op.result = event.result;
      return;
    default:
      apply_at_server(live, op, event);
  }
}

void Tracker::apply_at_server(Live& live, OpRecord& op, const TraceEvent& event) {
  switch (event.kind) {
    case EventKind::kOpReceived: {
      Attempt& attempt = attempt_of(op, event.attempt);
      attempt.server = event.process;
      attempt.received = event.time_ns;
      std::erase_if(live.arrivals, [&](const Live::FrameArrival& each) {
        if (each.tid != event.tid || each.is_reply || each.process != event.process) return false;
        attempt.arrived = each.at;
        return true;
      });
      return;
    }
    case EventKind::kOpQueued:
      attempt_at(op, event.process).ahead = event.ahead;
      return;
    case EventKind::kOpStart:
      attempt_at(op, event.process).started = event.time_ns;
      return;
    case EventKind::kStoreSubmit: {
      Attempt& attempt = attempt_at(op, event.process);
      attempt.store_submit = event.time_ns;
      attempt.store_kind = event.store_kind;
      return;
    }
    case EventKind::kStoreDone: {
      Attempt& attempt = attempt_at(op, event.process);
      attempt.store_done = event.time_ns;
      attempt.store_error = event.error;
      return;
    }
    case EventKind::kOpReplied:
      attempt_at(op, event.process).replied = event.time_ns;
      return;
    case EventKind::kOpCancelled:
      attempt_at(op, event.process).is_cancelled = true;
      return;
    case EventKind::kPullStart:
    case EventKind::kPushStart:
    case EventKind::kPullDone:
    case EventKind::kPushDone: {
      const bool is_push =
          event.kind == EventKind::kPushStart || event.kind == EventKind::kPushDone;
      const bool is_start =
          event.kind == EventKind::kPullStart || event.kind == EventKind::kPushStart;
      auto& fragments = attempt_of(op, event.attempt).fragments;
      auto at = std::find_if(fragments.begin(), fragments.end(), [&](const FragmentRecord& each) {
        return each.is_push == is_push && each.index == event.fragment;
      });
      if (at == fragments.end()) {
        at = fragments.insert(fragments.end(),
                              FragmentRecord{is_push, event.fragment, 0, event.bytes, 0});
      }
      (is_start ? at->started : at->done) = event.time_ns;
      if (is_start) at->offset = event.offset;
      if (!is_start) at->result = event.result;
      return;
    }
    default:
      ++live.io.orphans;
  }
}

void Tracker::apply_frame(Live& live, const TraceEvent& event) {
  if ((event.type != kOpMessage && event.type != kReplyMessage) || event.tid == 0) return;
  const bool is_reply = event.type == kReplyMessage;
  if (event.kind == EventKind::kFrameReceived) {
    live.arrivals.push_back({event.tid, event.process, is_reply, event.time_ns});
    return;
  }
  OpRecord& op = op_of(live.io, event.tid);
  Attempt& attempt = is_reply ? attempt_at(op, event.process) : latest_attempt(op);
  if (event.kind == EventKind::kFrameQueued) {
    if (!is_reply && attempt.queued == kNever) attempt.queued = event.time_ns;
    return;
  }
  int64_t& sent = is_reply ? attempt.reply_sent : attempt.sent;
  int64_t& seq = is_reply ? attempt.reply_seq : attempt.seq;
  if (sent == kNever) {
    sent = event.time_ns;
    seq = event.seq;
  } else {
    ++(is_reply ? attempt.reply_replays : attempt.replays);
  }
}

}  // namespace lunar::tracing
