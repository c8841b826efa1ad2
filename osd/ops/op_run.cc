// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_run.h"

#include <chrono>
#include <utility>

#include "common/host.h"
#include "osd/ops/trace_values.h"
#include "tracing/tracepoints.h"

namespace lunar::osd {

OpRun::OpRun(const OpEnvironment& environment, ClientOpRef op)
    : cursor_(environment, std::move(op)),
      reads_(cursor_, *this),
      changes_(cursor_, *this),
      payload_(cursor_, changes_, *this),
      vector_(cursor_, *this) {}

bool OpRun::take_buffers() {
  if (!cursor_.take_buffers()) return gives_up_waiting();
  if (!cursor_.op().pulls() || payload_.take_buffers()) return true;
  cursor_.drop_buffers();
  return gives_up_waiting();
}

bool OpRun::gives_up_waiting() {
  const auto now = monotonic_now();
  const auto waited = cursor_.op().waited_for_buffers(now);
  if (cursor_.op().pulls()) return payload_.gives_up_waiting(now, waited);
  has_no_buffers_ = waited >= cursor_.env().limits.max_buffer_wait;
  return has_no_buffers_;
}

void OpRun::start(Done done) {
  done_ = std::move(done);
  const ClientOp& op = cursor_.op();
  LUNAR_TRACE(lunar_osd, op_start, op.io_id(), op.header.tid);
  if (LUNAR_TRACE_ENABLED(lunar_osd, store_submit)) {
    LUNAR_TRACE(lunar_osd, store_submit, op.io_id(), op.header.tid, trace_store_kind(op.header),
                trace_store_bytes(op.header));
  }
  is_in_start_ = true;
  if (const OsdErrc refused = refusal(); refused != OsdErrc::kOk)
    refuse(refused);
  else if (has_no_buffers_)
    refuse(OsdErrc::kRetryInline);
  else if (op.is_absent_lost && !replaces_object(op.header) && !cursor_.is_applied_whole())
    find_object();
  else
    execute();
  is_in_start_ = false;
}

// An object that was on an earlier store, now lost, must not be taken for one that is empty.
void OpRun::find_object() {
  cursor_.env().store.data.stat(cursor_.op().object, [this](Result<ObjectData::Stat> stat) {
    if (stat || stat.error() != make_error_code(OsdErrc::kNoSuchObject)) return execute();
    refuse(OsdErrc::kIoError);
  });
}

void OpRun::execute() {
  if (cursor_.op().pulls())
    payload_.start();
  else
    next();
}

OsdErrc OpRun::refusal() const {
  const OpEnvironment& env = cursor_.env();
  const ClientOp& op = cursor_.op();
  const bool is_repair = replaces_object(op.header) && !env.ledger.has_too_many_damaged();
  // Whoever repairs a header has to fence those who watch it.
  const bool is_of_content = !op.object.name.empty() && !op.is(OpCode::kListWatchers) &&
                             !op.is(OpCode::kUnwatch) && !op.is(OpCode::kNotifyAck);
  if (is_of_content && env.ledger.is_damaged(op.object) && !is_repair) return OsdErrc::kIoError;
  // Its versions would no longer tell its contents apart.
  if (op.changes() && !op.is_metadata() && env.versions.is_metadata(op.object))
    return OsdErrc::kInvalid;
  return OsdErrc::kOk;
}

void OpRun::next() {
  if (cursor_.is_applied_whole()) return vector_.start();
  while (!cursor_.is_at_end()) {
    const SubOp& step = cursor_.step();
    if (objecter::changes_object(step.code)) return changes_.start();
    if (step.code != OpCode::kAssertVersion) return reads_.start();
    if (cursor_.version() != step.version) return step_done(OsdErrc::kVersionMismatch);
    cursor_.advance();
  }
  finish(OsdErrc::kOk);
}

void OpRun::step_done(OsdErrc error) {
  cursor_.result().error = error;
  if (error != OsdErrc::kOk) return finish(error);
  cursor_.advance();
  next();
}

// The error of the first step: a client sees that nothing was begun.
void OpRun::refuse(OsdErrc error) {
  cursor_.result().error = error;
  finish(error);
}

void OpRun::finish(OsdErrc error) {
  cursor_.op_result().header.error = error;
  LUNAR_TRACE(lunar_osd, store_done, cursor_.op().io_id(), cursor_.op().header.tid,
              static_cast<int32_t>(error));
  if (changes_.has_begun()) return changes_.finish();
  reply();
}

void OpRun::reply() {
  if (is_in_start_) {
    cursor_.env().center.post([this] { reply(); });
    return;
  }
  OpResult& result = cursor_.op_result();
  OsdReplyHeader& header = result.header;
  // Whoever is told that there is no room, or no descriptor, does it again when there is: not once
  // something may have changed, if it must not be done twice.
  const bool may_be_repeated = (cursor_.op().header.flags & objecter::kOpIdempotent) != 0;
  const bool asks_to_repeat = header.error == OsdErrc::kBusy || header.error == OsdErrc::kNoSpace;
  if (asks_to_repeat && changes_.may_have_changed() && !may_be_repeated)
    header.error = OsdErrc::kUnknownOutcome;
  if (header.error != OsdErrc::kOk) {
    result.data.clear();
    for (SubOpResult& step : header.steps) step.data_length = 0;
  }
  header.version = cursor_.version();
  header.bytes_inline = cursor_.op().message.data.size() + result.data_bytes();
  header.bytes_one_sided = header.error == OsdErrc::kRetryInline ? 0 : payload_.bytes_pulled();
  cursor_.drop_buffers();
  payload_.drop_buffers();
  auto done = std::move(done_);  // it may destroy this
  done(cursor_.take_result());
}

}  // namespace lunar::osd
