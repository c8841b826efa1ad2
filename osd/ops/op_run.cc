// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_run.h"

#include <algorithm>

#include "osd/ops/metadata_run.h"
#include "osd/ops/payload_pull.h"
#include "tracing/tracepoints.h"

namespace lunar::osd {
namespace {

uint8_t trace_kind(const OsdOpHeader& op) noexcept {
  if (op.steps.size() > 1) return kTraceStoreVector;
  switch (op.steps.front().code) {
    case OpCode::kRead:
    case OpCode::kSparseRead:
    case OpCode::kMapExtents:
      return kTraceStoreRead;
    case OpCode::kStat:
    case OpCode::kAssertVersion:
      return kTraceStoreStat;
    case OpCode::kCmpExt:
      return kTraceStoreCompare;
    case OpCode::kGetXattr:
    case OpCode::kSetXattr:
      return kTraceStoreXattr;
    case OpCode::kZero:
      return kTraceStoreZero;
    case OpCode::kTruncate:
      return kTraceStoreTruncate;
    case OpCode::kDelete:
      return kTraceStoreDelete;
    case OpCode::kFlush:
      return kTraceStoreFlush;
    case OpCode::kList:
      return kTraceStoreList;
    default:
      return kTraceStoreWrite;
  }
}

uint64_t trace_bytes(const OsdOpHeader& op) noexcept {
  uint64_t bytes = 0;
  for (const SubOp& step : op.steps) bytes += step.length;
  return bytes;
}

}  // namespace

OpRun::OpRun(const OpEnvironment& environment, ClientOpRef op, Done done)
    : env_(environment),
      op_(std::move(op)),
      done_(std::move(done)),
      result_(std::make_shared<OpResult>()) {
  result_->header.tid = op_->header.tid;
  result_->header.steps.resize(op_->header.steps.size());
}

OpRun::~OpRun() = default;

bool OpRun::take_buffers() {
  std::vector<msgr::RegisteredBuffer> buffers(op_->header.steps.size());
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    const uint64_t bytes = buffer_bytes(op_->header.steps[i], env_.limits);
    if (bytes == 0) continue;
    buffers[i] = env_.store.buffers().allocate(bytes);
    if (!buffers[i]) return is_tired_of_waiting();
  }
  if (op_->pulls() && !take_pull_buffers()) return is_tired_of_waiting();
  buffers_ = std::move(buffers);
  return true;
}

void OpRun::start() {
  LUNAR_TRACE(lunar_osd, op_start, op_->io_id(), op_->header.tid);
  if (LUNAR_TRACE_ENABLED(lunar_osd, store_submit)) {
    LUNAR_TRACE(lunar_osd, store_submit, op_->io_id(), op_->header.tid, trace_kind(op_->header),
                trace_bytes(op_->header));
  }
  in_start_ = true;
  if (const OsdErrc refused = refusal(); refused != OsdErrc::kOk)
    finish(refused);
  else if (is_tired_)
    finish(OsdErrc::kRetryInline);
  else if (op_->pulls())
    begin_pull();
  else
    next();
  in_start_ = false;
}

OsdErrc OpRun::refusal() const {
  if (env_.ledger.is_damaged(op_->object) && !replaces_object()) return OsdErrc::kIoError;
  // Its versions would no longer tell its contents apart.
  if (op_->changes() && !op_->is_metadata() && env_.versions.is_metadata(op_->object))
    return OsdErrc::kInvalid;
  return OsdErrc::kOk;
}

ObjectVersion OpRun::version() const {
  return op_->is_metadata() ? env_.versions.of_metadata(op_->object)
                            : env_.versions.of_data(op_->object);
}

void OpRun::next() {
  while (index_ < op_->header.steps.size()) {
    if (objecter::changes_object(step().code)) {
      if (!changing_)
        begin_changes();
      else
        start_changing_step();
      return;
    }
    if (step().code != OpCode::kAssertVersion) return start_reading_step();
    if (version() != step().version) return step_done(OsdErrc::kVersionMismatch);
    ++index_;
  }
  finish(OsdErrc::kOk);
}

void OpRun::step_done(OsdErrc error) {
  step_result().error = error;
  if (error != OsdErrc::kOk) return finish(error);
  data_offset_ += step().data_length;
  ++index_;
  next();
}

void OpRun::add_data(ReplyPiece piece) {
  step_result().data_length += static_cast<uint32_t>(piece.view().size());
  result_->data.push_back(std::move(piece));
}

void OpRun::finish(OsdErrc error) {
  result_->header.error = error;
  LUNAR_TRACE(lunar_osd, store_done, op_->io_id(), op_->header.tid, static_cast<int32_t>(error));
  if (!changing_) return reply();
  changes_done_ = true;
  finish_changes();
}

void OpRun::finish_changes() {
  if (!marked_) return;  // the mark's callback comes back here
  if (unstable_) env_.ledger.end_write(op_->header.image);
  if (result_->header.error == OsdErrc::kOk) result_->header.error = mark_error_;
  settle_damage();
}

void OpRun::settle_damage() {
  const bool repaired = result_->header.error == OsdErrc::kOk && replaces_object() &&
                        env_.ledger.is_damaged(op_->object);
  if (!repaired) return reply();
  env_.ledger.repaired(op_->object, [this](std::error_code error) {
    if (error) result_->header.error = wire_error(error);
    reply();
  });
}

void OpRun::reply() {
  if (in_start_) {
    env_.center.post([this] { reply(); });
    return;
  }
  OsdReplyHeader& header = result_->header;
  if (header.error != OsdErrc::kOk) {
    result_->data.clear();
    for (SubOpResult& step : header.steps) step.data_length = 0;
  }
  header.version = version();
  header.bytes_inline = op_->message.data.size() + result_->data_bytes();
  if (pulled_write_) pulled_bytes_ = pulled_write_->bytes_pulled();
  header.bytes_one_sided = header.error == OsdErrc::kRetryInline ? 0 : pulled_bytes_;
  buffers_.clear();
  pulled_write_.reset();
  op_->staged = {};
  auto done = std::move(done_);  // it may destroy this
  done(std::move(result_));
}

}  // namespace lunar::osd
