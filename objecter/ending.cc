// SPDX-License-Identifier: LGPL-2.1-or-later
// How an op ends. `done` runs when it has a result and nobody can touch its buffers any more: its
// messages are destroyed, every withdraw() is done, and no server has a key to them. A change that
// timed out or was cancelled also waits, up to cancel_grace, for its server's word that it is not
// executing. With that word the server is through with the buffer too; without it, the key is taken
// back after rkey_revoke_timeout.
//
// done always runs from a function posted to the loop, so never inside submit() or cancel(), nor
// inside the messenger.
#include "common/check.h"
#include "common/log.h"
#include "objecter/objecter_impl.h"
#include "objecter/trace_values.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {

// Takes the op back from the connection it was sent on, if that may still use its buffers.
void ObjecterImpl::withdraw(Op& op) {
  const bool may_be_filled = op.state == OpState::kSent && !op.request.read_into.empty();
  if ((op.messages == 0 && !may_be_filled) || op.withdrawals != 0) return;
  if (op.session == nullptr || op.session->server() == nullptr) return;
  ++op.withdrawals;
  // The callback keeps the connection until it is done.
  op.session->server()->connection().withdraw(
      op.tid, [this, tid = op.tid, server = op.session->server()] {
        Op* op = table_.find(tid);
        LUNAR_CHECK(op != nullptr && op->withdrawals > 0, "an op ended before it was withdrawn");
        --op->withdrawals;
        if (op->state == OpState::kWaitSession) {
          try_send(*op);
        } else {
          finish_if_free(*op);
        }
      });
}

void ObjecterImpl::end(Op& op, std::error_code error) {
  withdraw(op);
  release_key(op);
  op.result.error = error;
  op.state = OpState::kEnding;
  op.awaits_confirmation = false;
  // In its session's queue it stays: its tid counts there until it is over.
  if (op.session == nullptr) static_cast<QueueHook&>(op).unlink();
  finish_if_free(op);
}

void ObjecterImpl::interrupt(Op& op, std::error_code error, CancelReason reason) {
  if (op.state == OpState::kEnding || op.state == OpState::kAnswered) {
    if (error == OsdErrc::kShutdown) {
      op.awaits_confirmation = false;
      withdraw(op);
      release_key(op);
      finish_if_free(op);
    }
    return;
  }
  if (op.kind == OpKind::kFlushParent && op.parts > 0) {
    interrupt_parts(op.tid, error, reason);
    return;
  }
  LUNAR_TRACE(lunar_objecter, op_cancel, op.request.io_id, op.tid, trace_value(reason));
  const bool may_execute = op.was_sent && op.session != nullptr;
  const bool waits =
      may_execute && (op.changes || op.key.has_value()) && error != OsdErrc::kShutdown;
  withdraw(op);
  if (may_execute && op.session->is_ready()) send_cancel(op);
  if (!waits) {
    end(op, error);
    return;
  }
  op.state = OpState::kEnding;
  op.result.error = error;
  op.awaits_confirmation = true;
  const TimePoint now = center_.now();
  op.confirm_until = op.changes ? now + options_.cancel_grace : now;
  table_.set_deadline(op, op.key ? now + options_.rkey_revoke_timeout : op.confirm_until);
  arm_deadline_timer();
}

void ObjecterImpl::interrupt_parts(Tid parent, std::error_code error, CancelReason reason) {
  table_.for_each([&](Op& op) {
    if (op.parent == parent) interrupt(op, error, reason);
  });
}

void ObjecterImpl::cancel(Tid tid) {
  center_.assert_in_loop();
  Op* op = table_.find(tid);
  if (op == nullptr || op->is_finished) return;
  counters_.op_cancel.add();
  interrupt(*op, OsdErrc::kCancelled, CancelReason::kAbort);
}

// --- deadlines: one timer for the earliest, set anew when it fires ---

void ObjecterImpl::arm_deadline_timer() {
  const Op* first = table_.first_due();
  if (first == nullptr) return;
  if (deadline_timer_ != msgr::TimerId::kNone) {
    if (deadline_timer_at_ <= first->deadline) return;
    center_.cancel(deadline_timer_);
  }
  deadline_timer_at_ = first->deadline;
  deadline_timer_ =
      center_.run_after(std::max(first->deadline - center_.now(), TimePoint::duration(0)), [this] {
        deadline_timer_ = msgr::TimerId::kNone;
        on_deadlines();
        arm_deadline_timer();
      });
}

void ObjecterImpl::on_deadlines() {
  const TimePoint now = center_.now();
  for (Op* op = table_.first_due(); op != nullptr && op->deadline <= now; op = table_.first_due()) {
    OpTable::clear_deadline(*op);
    if (op->state == OpState::kEnding) {
      // The server had its time to say that it is through with the buffer.
      release_key(*op);
      if (op->awaits_confirmation && op->confirm_until > now) {
        table_.set_deadline(*op, op->confirm_until);
      } else {
        op->awaits_confirmation = false;
        finish_if_free(*op);
      }
    } else if (op->state == OpState::kAnswered) {
      withdraw(*op);  // a server that answers and does not acknowledge
    } else if (op->kind != OpKind::kFlushParent || op->parts == 0) {
      counters_.op_timeout.add();
      LUNAR_LOG(kObjecter, 5, "tid {} to osd.{} is out of time", op->tid, op->osd);
      interrupt(*op, OsdErrc::kTimedOut, CancelReason::kTimeout);
    }
  }
}

// --- done ---

void ObjecterImpl::on_message_destroyed(Op& op) { finish_if_free(op); }

void ObjecterImpl::finish_if_free(Op& op) {
  const bool has_result = op.state == OpState::kAnswered || op.state == OpState::kEnding;
  if (!has_result || op.awaits_confirmation || !op.buffers_are_free() || op.is_finished) return;
  op.is_finished = true;
  finished_.push_back(&op);
  if (std::exchange(finish_is_posted_, true)) return;
  center_.post([this] { run_finished(); });
}

void ObjecterImpl::run_finished() {
  finish_is_posted_ = false;
  finishing_.swap(finished_);
  for (Op* op : finishing_) finish(*op);
  finishing_.clear();
  finish_shutdown();
}

void ObjecterImpl::finish(Op& op) {
  table_.remove(op);
  const auto latency = center_.now() - op.submitted;
  counters_.op_active.set(table_.size());
  counters_.op_latency.add(latency);
  counters_.op_latency_histogram.add(latency);
  if (op.result.error) counters_.op_error.add();
  LUNAR_TRACE(lunar_objecter, op_done, op.request.io_id, op.tid, op.result.error.value());
  // Those that waited go before what `done` submits.
  admit_waiting();
  OpDone done = std::move(op.done);
  InlineFunction<void(std::error_code)> flush_done = std::move(op.flush_done);
  if (done) done(std::move(op.result));
  if (flush_done) flush_done(op.result.error);
  table_.recycle(op);
}

}  // namespace lunar::objecter
