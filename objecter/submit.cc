// SPDX-License-Identifier: LGPL-2.1-or-later
// From submit() until an op has its place in a queue: of the throttle, of those that wait for a
// map, or of its OSD's session.
#include <algorithm>

#include "common/log.h"
#include "objecter/objecter_impl.h"
#include "objecter/trace_values.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

bool is_well_formed(const Op& op) noexcept {
  OsdOpView view;
  view.tid = view.oldest_tid = op.tid;
  view.pg.pool = op.request.object.pool;
  view.object = op.request.object.name;
  view.flags = op.request.flags;
  view.steps = op.request.steps;
  if (!is_valid(view)) return false;
  uint64_t data = 0;
  uint64_t returning = 0;
  for (const SubOp& step : op.request.steps) {
    data += step.data_length;
    if (max_reply_bytes(step) > 0) ++returning;
  }
  if (data != op.data_bytes) return false;
  if (op.request.read_into.empty()) return true;
  const auto& steps = op.request.steps;
  const auto read = std::find_if(steps.begin(), steps.end(),
                                 [](const SubOp& step) { return step.code == OpCode::kRead; });
  return returning == 1 && read != steps.end() && read->length == op.request.read_into.size();
}

}  // namespace

Op& ObjecterImpl::add_op(OpKind kind, ObjectOp request, OpDone done) {
  Op& op = table_.add();
  op.kind = kind;
  op.request = std::move(request);
  op.done = std::move(done);
  op.submitted = center_.now();
  for (ConstBytes piece : op.request.data) op.data_bytes += piece.size();
  op.budget_bytes = op.data_bytes;
  bool reads = false;
  for (const SubOp& step : op.request.steps) {
    op.changes |= changes_object(step.code);
    reads |= step.code < OpCode::kWrite;
    if (step.code == OpCode::kRead || step.code == OpCode::kSparseRead) {
      op.budget_bytes += step.length;
    }
  }
  op.is_repeatable = !op.changes || (op.request.flags & kOpIdempotent) != 0;
  counters_.op_active.set(table_.size());
  counters_.op.add();
  if (kind == OpKind::kOsd) {
    counters_.op_flush.add();
  } else if (kind != OpKind::kFlushParent) {
    (op.changes ? (reads ? counters_.op_rmw : counters_.op_w) : counters_.op_r).add();
  }
  const auto timeout = op.request.timeout.count() > 0 ? op.request.timeout : options_.op_timeout;
  table_.set_deadline(op, op.submitted + timeout);
  arm_deadline_timer();
  return op;
}

Tid ObjecterImpl::submit(ObjectOp request, OpDone done) {
  center_.assert_in_loop();
  Op& op = add_op(OpKind::kObject, std::move(request), std::move(done));
  const Tid tid = op.tid;
  if (!is_well_formed(op)) {
    end(op, OsdErrc::kInvalid);
  } else if (op.data_bytes > max_data_bytes_) {
    end(op, OsdErrc::kTooLarge);
  } else {
    begin(op);
  }
  return tid;
}

void ObjecterImpl::begin(Op& op) {
  if (is_shutting_down_) {
    end(op, OsdErrc::kShutdown);
    return;
  }
  // FLUSH and LIST carry nothing and must get through when writes are stuck.
  if (op.kind == OpKind::kObject && !table_.admit(op)) {
    counters_.op_throttled.add();
    LUNAR_TRACE(lunar_objecter, op_wait, op.request.io_id, op.tid, op.attempt + 1,
                trace_value(WaitReason::kThrottle));
    return;
  }
  counters_.op_inflight.set(table_.in_flight_ops());
  counters_.op_inflight_bytes.set(table_.in_flight_bytes());
  target(op);
}

void ObjecterImpl::admit_waiting() {
  while (Op* op = table_.next_admitted()) target(*op);
  counters_.op_inflight.set(table_.in_flight_ops());
  counters_.op_inflight_bytes.set(table_.in_flight_bytes());
}

// REQUIRES: op is in no queue.
void ObjecterImpl::target(Op& op) {
  const PoolInfo* pool = targeting_.find_pool(op.request.object.pool);
  if (pool == nullptr) {
    wait_for_pool(op);
    return;
  }
  op.wait_epoch = 0;
  op.map_ticket = 0;
  switch (op.kind) {
    case OpKind::kFlushParent:
      start_flush(op, *pool);
      return;
    case OpKind::kOsd:
      op.pg = {pool->id, 0};
      assign(op, op.osd);
      return;
    case OpKind::kPg:
    case OpKind::kObject: {
      const Targeting::Target target = op.kind == OpKind::kPg
                                           ? targeting_.of_pg(*pool, op.pg)
                                           : targeting_.of_object(*pool, op.request.object.name);
      if (target.osd < 0) {
        end(op, OsdErrc::kInvalid);  // LIST of a PG that the pool does not have
        return;
      }
      op.pg = target.pg;
      assign(op, target.osd);
      return;
    }
  }
}

// The map changed: does the op still go where it was going?
void ObjecterImpl::retarget(Op& op) {
  const bool is_placed = op.state == OpState::kWaitSession || op.state == OpState::kSent;
  if (op.state == OpState::kWaitMap) {
    if (op.wait_epoch > targeting_.epoch()) return;
    static_cast<QueueHook&>(op).unlink();
    target(op);
    return;
  }
  const bool moves = op.kind == OpKind::kObject || op.kind == OpKind::kPg;
  if (!is_placed || !moves) return;
  const PoolInfo* pool = targeting_.find_pool(op.request.object.pool);
  const OsdId osd = pool == nullptr ? -1
                    : op.kind == OpKind::kObject
                        ? targeting_.of_object(*pool, op.request.object.name).osd
                        : targeting_.of_pg(*pool, op.pg).osd;
  if (osd == op.osd) return;
  if (op.was_sent && !op.is_repeatable) {
    // The server it went to may have applied it, and the new one cannot know.
    counters_.op_unknown.add();
    end(op, OsdErrc::kUnknownOutcome);
    return;
  }
  withdraw(op);
  release_key(op);
  op.was_sent = false;
  op.resend_reason = ResendReason::kNewMap;
  static_cast<QueueHook&>(op).unlink();
  op.session = nullptr;
  target(op);
}

void ObjecterImpl::wait_for_newer_map(Op& op, Epoch epoch) {
  op.state = OpState::kWaitMap;
  op.wait_epoch = epoch;
  op.session = nullptr;
  waiting_for_map_.push_back(op);
  LUNAR_TRACE(lunar_objecter, op_wait, op.request.io_id, op.tid, op.attempt + 1,
              trace_value(WaitReason::kMap));
}

void ObjecterImpl::wait_for_pool(Op& op) {
  wait_for_newer_map(op, 0);
  // Until there is a map, nobody can be asked whether it is the newest.
  op.map_ticket = targeting_.map() == nullptr ? 0 : maps_.ask_newest();
}

void ObjecterImpl::assign(Op& op, OsdId osd) {
  if (op.attempt == 0) {
    LUNAR_TRACE(lunar_objecter, op_submit, op.request.io_id, op.tid, uint32_t{1}, op.pg.pool,
                op.pg.seed, osd, targeting_.epoch(), op.budget_bytes);
  }
  op.osd = osd;
  op.epoch = targeting_.epoch();
  op.state = OpState::kWaitSession;
  OsdSession& session = session_of(osd);
  session.add(op);
  try_send(op);
  if (op.state == OpState::kWaitSession) {
    LUNAR_TRACE(lunar_objecter, op_wait, op.request.io_id, op.tid, op.attempt + 1,
                trace_value(WaitReason::kOsdDown));
  }
}

}  // namespace lunar::objecter
