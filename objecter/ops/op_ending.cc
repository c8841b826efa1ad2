// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/op_ending.h"

#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "objecter/ops/trace_reasons.h"
#include "objecter/servers/osd_session.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {

OpEnding::OpEnding(msgr::EventCenter& center, OpTable& table, OpDeadlines& deadlines,
                   PayloadDelivery& delivery, UnconfirmedChanges& unconfirmed,
                   ObjecterCounters& counters, OpEvents& events, Limits limits)
    : center_(center),
      table_(table),
      deadlines_(deadlines),
      delivery_(delivery),
      unconfirmed_(unconfirmed),
      counters_(counters),
      events_(events),
      limits_(limits) {}

// --- the buffers ---

void OpEnding::withdraw(Op& op) {
  const bool can_be_filled = op.state == OpState::kSent && !op.object_op.read_into.empty();
  if ((op.messages == 0 && !can_be_filled) || op.withdrawals != 0) return;
  if (op.session == nullptr || op.session->server() == nullptr) return;
  ++op.withdrawals;
  // The callback keeps the connection until it is done.
  op.session->server()->connection().withdraw(
      op.tid, [this, tid = op.tid, server = op.session->server()] {
        Op* op = table_.find(tid);
        LUNAR_CHECK(op != nullptr && op->withdrawals > 0, "an op ended before it was withdrawn");
        --op->withdrawals;
        events_.on_buffers_returned(*op);
      });
}

void OpEnding::take_back_buffers(Op& op) {
  withdraw(op);
  delivery_.revoke(op);
}

void OpEnding::give_up(Op& op) {
  withdraw(op);
  op.state = OpState::kMoving;
  if (op.session->is_ready()) op.session->send_cancel(op);
}

// --- early ends ---

void OpEnding::end(Op& op, std::error_code error) {
  take_back_buffers(op);
  op.result.error = error;
  op.state = OpState::kEnding;
  op.awaits_confirmation = false;
  // It stays in its session's queue: its tid counts there until it has ended.
  if (op.session == nullptr) leave_queue(op);
  finish_if_free(op);
}

void OpEnding::interrupt(Op& op, std::error_code error, CancelReason reason) {
  const bool waits_for_nobody = error == OsdErrc::kShutdown;
  if (op.has_result()) {
    if (!waits_for_nobody) return;
    take_back_buffers(op);
    confirm(op);
    return;
  }
  if (op.kind == OpKind::kPoolFlush && op.server_flushes_left > 0) {
    interrupt_server_flushes(op.tid, error, reason);
    return;
  }
  LUNAR_TRACE(lunar_objecter, op_cancel, op.object_op.io_id, op.tid, trace_value(reason));
  const bool can_execute = op.may_be_executed() && op.session != nullptr;
  const bool waits = can_execute && (op.changes || op.key.has_value()) && !waits_for_nobody;
  withdraw(op);
  if (can_execute && op.session->is_ready()) op.session->send_cancel(op);
  // Whoever hears of a timeout or an abort may do it again.
  const bool is_unknown = can_execute && !op.is_repeatable;
  if (is_unknown) op.result.reason = error;
  if (!waits) {
    end(op, is_unknown ? make_error_code(OsdErrc::kUnknownOutcome) : error);
    return;
  }
  op.state = OpState::kEnding;
  op.result.error = is_unknown ? make_error_code(OsdErrc::kUnknownOutcome) : error;
  op.end_reason = error;
  op.awaits_confirmation = true;
  const OpTime now = center_.now();
  op.confirm_until = op.changes ? now + limits_.cancel_grace : now;
  deadlines_.set(op, op.key ? now + limits_.rkey_revoke_timeout : op.confirm_until);
}

void OpEnding::interrupt_server_flushes(Tid pool_flush, std::error_code error,
                                        CancelReason reason) {
  table_.for_each([&](Op& op) {
    if (op.pool_flush == pool_flush) interrupt(op, error, reason);
  });
}

void OpEnding::confirm_not_executed(Op& op) {
  if (op.awaits_confirmation) {
    op.result.error = op.end_reason;
    op.result.reason = {};
  }
  confirm(op);
}

void OpEnding::confirm(Op& op) {
  op.awaits_confirmation = false;
  finish_if_free(op);
}

void OpEnding::on_due(Op& op, OpTime now) {
  if (op.state == OpState::kEnding) {
    // The server had its time to say that it is through with the buffer.
    delivery_.revoke(op);
    if (op.awaits_confirmation && op.confirm_until > now) {
      deadlines_.set(op, op.confirm_until);
    } else {
      if (op.awaits_confirmation) unconfirmed_.add(op);
      confirm(op);
    }
  } else if (op.state == OpState::kAnswered) {
    withdraw(op);  // a server that answers and does not acknowledge
  } else if (op.kind != OpKind::kPoolFlush || op.server_flushes_left == 0) {
    counters_.op_timeout.add();
    LUNAR_LOG(kObjecter, 5, "tid {} to osd.{} is out of time", op.tid, op.osd);
    interrupt(op, OsdErrc::kTimedOut, CancelReason::kTimeout);
  }
}

// --- done ---

void OpEnding::finish_if_free(Op& op) {
  if (!op.has_result() || op.awaits_confirmation || !op.are_buffers_free() || op.is_finished) {
    return;
  }
  op.is_finished = true;
  finished_.push_back(&op);
  if (std::exchange(is_finish_posted_, true)) return;
  center_.post([this] { run_finished(); });
}

void OpEnding::run_finished() {
  is_finish_posted_ = false;
  finishing_.swap(finished_);
  for (Op* op : finishing_) finish(*op);
  finishing_.clear();
  events_.on_all_finished();
}

void OpEnding::finish(Op& op) {
  table_.remove(op);
  const auto latency = center_.now() - op.submitted;
  counters_.op_active.set(table_.size());
  counters_.op_latency.add(latency);
  counters_.op_latency_histogram.add(latency);
  if (op.result.error) counters_.op_error.add();
  if (op.result.error == OsdErrc::kUnknownOutcome) counters_.op_unknown.add();
  LUNAR_TRACE(lunar_objecter, op_done, op.object_op.io_id, op.tid, op.result.error.value());
  // Those that waited go before what `done` submits.
  events_.on_op_removed();
  OpDone done = std::move(op.done);
  if (done) done(std::move(op.result));
  table_.recycle(op);
}

}  // namespace lunar::objecter
