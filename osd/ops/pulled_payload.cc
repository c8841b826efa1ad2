// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/pulled_payload.h"

#include <utility>

#include "osd/ops/op_run.h"

namespace lunar::osd {

bool PulledPayload::take_buffers() {
  const ClientOp& op = cursor_.op();
  if (op.is(OpCode::kWrite) && !op.is_metadata() && !cursor_.is_applied_whole()) {
    write_.emplace(
        cursor_.env(), op, [this] { changes_.mark(); },
        [this](OsdErrc error) { run_.step_done(error); });
    return write_->take_buffers();
  }
  staging_ = cursor_.env().store.buffers.allocate(op.header.delivery->bytes());
  return static_cast<bool>(staging_);
}

bool PulledPayload::gives_up_waiting(TimePoint now, std::chrono::nanoseconds waited) {
  if (cursor_.op().lease_is_over(now))
    fault_ = PullFault::kLeaseOver;
  else if (waited >= cursor_.env().limits.max_pull_wait)
    fault_ = PullFault::kNoMemory;
  return fault_ != PullFault::kNone;
}

void PulledPayload::start() {
  if (fault_ != PullFault::kNone) return give_up(fault_);
  if (write_) return write_->start();
  stage();
}

void PulledPayload::stage() {
  pull_.emplace(cursor_.env(), cursor_.op());
  if (const PullFault fault = pull_->check(staging_); fault != PullFault::kNone)
    return give_up(fault);
  for (uint32_t i = 0; i < pull_->fragments(); ++i) {
    pull_->pull(i, staging_, static_cast<uint32_t>(pull_->offset_of(i)),
                [this](PullFault fault) { on_staged(fault); });
  }
}

void PulledPayload::on_staged(PullFault fault) {
  if (fault_ == PullFault::kNone) fault_ = fault;
  if (pull_->under_way() > 0) return;
  if (fault_ == PullFault::kNone && cursor_.op().is_given_up) fault_ = PullFault::kGivenUp;
  if (fault_ != PullFault::kNone) return give_up(fault_);
  cursor_.env().one_sided.pulled_ops.add();
  cursor_.op().staged = std::move(staging_);
  run_.next();
}

void PulledPayload::give_up(PullFault fault) {
  cursor_.env().one_sided.count(fault);
  run_.finish(OsdErrc::kRetryInline);
}

uint64_t PulledPayload::bytes_pulled() const noexcept {
  return write_ ? write_->bytes_pulled() : pull_ ? pull_->bytes_pulled() : 0;
}

void PulledPayload::drop_buffers() {
  write_.reset();
  cursor_.op().staged = {};
}

}  // namespace lunar::osd
