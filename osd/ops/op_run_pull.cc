// SPDX-License-Identifier: LGPL-2.1-or-later
#include <chrono>
#include <utility>

#include "osd/ops/op_run.h"
#include "osd/ops/payload_pull.h"

// Getting a payload that the client only described, before the first step. A single WRITE of a data
// object is stored while it is pulled; whatever else compares, replaces or combines is staged
// whole, so that nothing of it happens with half a payload.

namespace lunar::osd {

bool OpRun::take_pull_buffers() {
  if (op_->is(OpCode::kWrite) && !op_->is_metadata()) {
    pulled_write_ = std::make_unique<PulledWrite>(
        env_, *op_, [this] { mark_changes(); }, [this](OsdErrc error) { step_done(error); });
    return pulled_write_->take_buffers();
  }
  staging_ = env_.store.buffers().allocate(op_->header.delivery->bytes());
  return static_cast<bool>(staging_);
}

// No op waits for buffers for ever: there may be none of that size at all, and what it waits for
// may be payloads of ops behind it. True: it runs, to say so. Clients send it again by themselves.
bool OpRun::is_tired_of_waiting() {
  const auto now = std::chrono::steady_clock::now();
  const auto waited = op_->starved_for(now);
  if (!op_->pulls()) return is_tired_ = waited >= env_.limits.max_buffer_wait;
  if (op_->lease_is_over(now))
    pull_fault_ = PullFault::kLeaseOver;
  else if (waited >= env_.limits.max_pull_wait)
    pull_fault_ = PullFault::kNoMemory;
  return pull_fault_ != PullFault::kNone;
}

void OpRun::begin_pull() {
  if (pull_fault_ != PullFault::kNone) return give_up_pull(pull_fault_);
  if (pulled_write_) return pulled_write_->start();
  stage();
}

void OpRun::stage() {
  pull_ = std::make_unique<PayloadPull>(env_, *op_);
  if (const PullFault fault = pull_->check(staging_); fault != PullFault::kNone) {
    return give_up_pull(fault);
  }
  for (uint32_t i = 0; i < pull_->fragments(); ++i) {
    pull_->pull(i, staging_, static_cast<uint32_t>(pull_->offset_of(i)),
                [this](PullFault fault) { staged_one(fault); });
  }
}

void OpRun::staged_one(PullFault fault) {
  if (pull_fault_ == PullFault::kNone) pull_fault_ = fault;
  if (pull_->under_way() > 0) return;
  if (pull_fault_ == PullFault::kNone && op_->is_given_up) pull_fault_ = PullFault::kGivenUp;
  if (pull_fault_ != PullFault::kNone) return give_up_pull(pull_fault_);
  env_.one_sided.pulled_ops.add();
  pulled_bytes_ = pull_->bytes_pulled();
  op_->staged = std::move(staging_);
  next();
}

void OpRun::give_up_pull(PullFault fault) {
  env_.one_sided.count(fault);
  finish(OsdErrc::kRetryInline);
}

}  // namespace lunar::osd
