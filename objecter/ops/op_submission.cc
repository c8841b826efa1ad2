// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_submission.h"

#include <algorithm>
#include <utility>

#include "objecter/ops/trace_reasons.h"
#include "objecter/protocol/placement.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

constexpr std::chrono::milliseconds kRetryDelay{100};

bool is_well_formed(const Op& op) noexcept {
  OsdOpView view;
  view.tid = view.oldest_tid = op.tid;
  view.pg.pool = op.object_op.object.pool;
  view.object = op.object_op.object.name;
  view.flags = op.object_op.flags;
  view.steps = op.object_op.steps;
  if (!is_valid(view)) return false;
  uint64_t data = 0;
  uint64_t returning = 0;
  for (const SubOp& step : op.object_op.steps) {
    data += step.data_length;
    if (max_reply_bytes(step) > 0) ++returning;
  }
  if (data != op.data_bytes) return false;
  if (op.object_op.read_into.empty()) return true;
  const auto& steps = op.object_op.steps;
  const auto read = std::find_if(steps.begin(), steps.end(),
                                 [](const SubOp& step) { return step.code == OpCode::kRead; });
  return returning == 1 && read != steps.end() && read->length == op.object_op.read_into.size();
}

}  // namespace

OpSubmission::OpSubmission(msgr::EventCenter& center, OpTable& table, OpDeadlines& deadlines,
                           OpEnding& ending, OsdSessions& sessions, UnconfirmedChanges& unconfirmed,
                           MapClient& maps, ObjecterCounters& counters, OpEvents& events,
                           Limits limits)
    : center_(center),
      table_(table),
      deadlines_(deadlines),
      ending_(ending),
      sessions_(sessions),
      unconfirmed_(unconfirmed),
      maps_(maps),
      counters_(counters),
      events_(events),
      limits_(limits) {}

Op& OpSubmission::add(OpKind kind, ObjectOp object_op, OpDone done) {
  Op& op = table_.add();
  op.kind = kind;
  op.object_op = std::move(object_op);
  op.done = std::move(done);
  op.submitted = center_.now();
  for (ConstBytes each : op.object_op.data) op.data_bytes += each.size();
  op.budget_bytes = op.data_bytes;
  bool does_read = false;
  for (const SubOp& step : op.object_op.steps) {
    op.changes |= changes_object(step.code);
    does_read |= step.code < OpCode::kWrite;
    if (step.code == OpCode::kRead || step.code == OpCode::kSparseRead) {
      op.budget_bytes += step.length;
    }
  }
  op.is_repeatable = !op.changes || (op.object_op.flags & kOpIdempotent) != 0;
  counters_.op_active.set(table_.size());
  counters_.op.add();
  if (kind == OpKind::kServerFlush) {
    counters_.op_flush.add();
  } else if (kind != OpKind::kPoolFlush) {
    (op.changes ? (does_read ? counters_.op_rmw : counters_.op_w) : counters_.op_r).add();
  }
  const auto timeout = op.object_op.timeout.count() > 0 ? op.object_op.timeout : limits_.op_timeout;
  deadlines_.set(op, op.submitted + timeout);
  return op;
}

Tid OpSubmission::submit(ObjectOp object_op, OpDone done) {
  center_.assert_in_loop();
  Op& op = add(OpKind::kObject, std::move(object_op), std::move(done));
  const Tid tid = op.tid;
  if (!is_well_formed(op)) {
    ending_.end(op, OsdErrc::kInvalid);
  } else if (op.data_bytes > limits_.max_data_bytes) {
    ending_.end(op, OsdErrc::kTooLarge);
  } else {
    begin(op);
  }
  return tid;
}

void OpSubmission::begin(Op& op) {
  if (is_shut_down_) {
    ending_.end(op, OsdErrc::kShutdown);
    return;
  }
  // FLUSH, LIST and ops of watches carry next to nothing and must get through when writes are
  // stuck.
  if (op.kind == OpKind::kObject && !table_.admit(op)) {
    counters_.op_throttled.add();
    LUNAR_TRACE(lunar_objecter, op_wait, op.object_op.io_id, op.tid, op.attempt + 1,
                trace_value(WaitReason::kThrottle));
    return;
  }
  publish_in_flight();
  target(op);
}

void OpSubmission::admit_waiting() {
  while (Op* op = table_.next_admitted()) target(*op);
  publish_in_flight();
}

void OpSubmission::publish_in_flight() {
  counters_.op_inflight.set(table_.in_flight_ops());
  counters_.op_inflight_bytes.set(table_.in_flight_bytes());
}

void OpSubmission::target(Op& op) {
  const PoolInfo* pool = targeting_.find_pool(op.object_op.object.pool);
  if (pool == nullptr) {
    wait_for_pool(op);
    return;
  }
  op.wait_epoch = 0;
  op.map_ticket = 0;
  switch (op.kind) {
    case OpKind::kPoolFlush:
      events_.on_pool_flush_placed(op, *pool);
      return;
    case OpKind::kServerFlush:
      op.pg = {pool->id, 0};
      assign(op, op.osd);
      return;
    case OpKind::kPg:
    case OpKind::kOfWatches:
    case OpKind::kObject: {
      const Targeting::OpTarget target =
          op.kind == OpKind::kPg ? targeting_.of_pg(*pool, op.pg)
                                 : targeting_.of_object(*pool, op.object_op.object.name);
      if (target.osd < 0) {
        ending_.end(op, OsdErrc::kInvalid);  // LIST of a PG that the pool does not have
        return;
      }
      op.pg = target.pg;
      if (op.changes && pool->store == StoreKind::kRados &&
          unconfirmed_.must_wait(op.object_op.object, target.osd))
        return wait_for_newer_map(op, 0);  // or for on_confirmed()
      assign(op, target.osd);
      return;
    }
  }
}

// --- the map changed ---

void OpSubmission::retarget_all() {
  table_.for_each([this](Op& op) { retarget(op); });
}

// Where the op would go under the newest map; negative if nowhere.
OsdId OpSubmission::new_target(const Op& op) {
  const PoolInfo* pool = targeting_.find_pool(op.object_op.object.pool);
  if (pool == nullptr) return -1;
  if (op.kind == OpKind::kPg) return targeting_.of_pg(*pool, op.pg).osd;
  return targeting_.of_object(*pool, op.object_op.object.name).osd;
}

void OpSubmission::retarget(Op& op) {
  if (op.state == OpState::kWaitMap) {
    if (op.wait_epoch > targeting_.epoch()) return;
    leave_queue(op);
    target(op);
    return;
  }
  const bool is_moving = op.state == OpState::kMoving;
  const bool is_placed =
      is_moving || op.state == OpState::kWaitSession || op.state == OpState::kSent;
  const bool can_move =
      op.kind == OpKind::kObject || op.kind == OpKind::kOfWatches || op.kind == OpKind::kPg;
  if (!is_placed || !can_move || (!is_moving && new_target(op) == op.osd)) return;
  if (may_be_changing(op)) {
    // If it were executed there later, it would undo what comes after it by the new server.
    if (!is_moving) ending_.give_up(op);
  } else if (op.may_be_executed() && !op.is_repeatable) {
    // The server it went to may have applied it, and the new one cannot know.
    ending_.end(op, OsdErrc::kUnknownOutcome);
  } else {
    move(op);
  }
}

// (PGs of local stores move with no server that is down.)
bool OpSubmission::may_be_changing(const Op& op) const {
  return op.changes && op.may_be_executed() &&
         may_be_executing(*targeting_.map(), op.osd, op.sent_to);
}

void OpSubmission::move(Op& op) {
  ending_.take_back_buffers(op);
  op.was_sent = false;
  op.resend_reason = ResendReason::kNewMap;
  leave_queue(op);
  op.session = nullptr;
  target(op);
}

void OpSubmission::on_given_up(Op& op) {
  op.ruled_out = op.attempt;
  move(op);
}

void OpSubmission::on_newest_confirmed(uint64_t ticket) {
  for (auto at = waiting_.begin(); at != waiting_.end();) {
    Op& op = *at++;
    if (op.map_ticket != 0 && op.map_ticket <= ticket) ending_.end(op, OsdErrc::kNoSuchPool);
  }
}

// --- waiting for a map ---

void OpSubmission::retry_with_newer_map(Op& op, Epoch servers) {
  op.resend_reason = ResendReason::kNewMap;
  leave_queue(op);
  op.session = nullptr;
  if (servers > targeting_.epoch()) {
    wait_for_newer_map(op, servers);
  } else if (targeting_.epoch() > op.epoch) {
    target(op);
  } else {
    // It does not agree with the very map it has. Not at once again.
    wait_for_newer_map(op, 0);
    retry_later();
  }
}

void OpSubmission::wait_for_newer_map(Op& op, Epoch epoch) {
  op.state = OpState::kWaitMap;
  op.wait_epoch = epoch;
  op.session = nullptr;
  waiting_.push_back(op);
  LUNAR_TRACE(lunar_objecter, op_wait, op.object_op.io_id, op.tid, op.attempt + 1,
              trace_value(WaitReason::kMap));
}

void OpSubmission::wait_for_pool(Op& op) {
  wait_for_newer_map(op, 0);
  // Until there is a map, nobody can be asked whether it is the newest.
  op.map_ticket = targeting_.map() == nullptr ? 0 : maps_.ask_newest();
}

// For ops whose server refused them under a map that both have.
void OpSubmission::retry_later() {
  if (retry_timer_ != msgr::TimerId::kNone || is_shut_down_) return;
  retry_timer_ = center_.run_after(kRetryDelay, [this] {
    retry_timer_ = msgr::TimerId::kNone;
    retry_waiting();
  });
}

// Each once: some may have to wait again.
void OpSubmission::retry_waiting() {
  OpQueue due;
  due.swap(waiting_);
  while (!due.empty()) {
    Op& op = due.front();
    leave_queue(op);
    if (op.map_ticket != 0 || op.wait_epoch != 0 || targeting_.map() == nullptr)
      waiting_.push_back(op);
    else
      target(op);
  }
}

void OpSubmission::shut_down() {
  is_shut_down_ = true;
  center_.cancel(std::exchange(retry_timer_, msgr::TimerId::kNone));
}

// --- its session ---

void OpSubmission::assign(Op& op, OsdId osd) {
  if (op.attempt == 0) {
    LUNAR_TRACE(lunar_objecter, op_submit, op.object_op.io_id, op.tid, uint32_t{1}, op.pg.pool,
                op.pg.seed, osd, targeting_.epoch(), op.budget_bytes);
  }
  op.osd = osd;
  op.epoch = targeting_.epoch();
  op.state = OpState::kWaitSession;
  sessions_.of(osd).add(op);
  sessions_.try_send(op);
  if (op.state == OpState::kWaitSession) {
    LUNAR_TRACE(lunar_objecter, op_wait, op.object_op.io_id, op.tid, op.attempt + 1,
                trace_value(WaitReason::kOsdDown));
  }
}

}  // namespace lunar::objecter
