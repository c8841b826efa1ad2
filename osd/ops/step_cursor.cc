// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/step_cursor.h"

namespace lunar::osd {

StepCursor::StepCursor(const OpEnvironment& environment, ClientOpRef op)
    : env_(environment), op_(std::move(op)), result_(std::make_shared<OpResult>()) {
  result_->header.tid = op_->header.tid;
  result_->header.steps.resize(op_->header.steps.size());
}

bool StepCursor::take_buffers() {
  // The common vector, a plain WRITE, has no use for an empty list.
  if (op_->is(OpCode::kWrite)) return true;
  buffers_.resize(op_->header.steps.size());
  for (std::size_t i = 0; i < buffers_.size(); ++i) {
    const uint64_t bytes = buffer_bytes(op_->header.steps[i], env_.limits);
    if (bytes == 0) continue;
    buffers_[i] = env_.store.buffers.allocate(bytes);
    if (buffers_[i]) continue;
    drop_buffers();
    return false;
  }
  return true;
}

msgr::RegisteredBuffer& StepCursor::buffer_of(std::size_t index) noexcept {
  static msgr::RegisteredBuffer none;
  return buffers_.empty() ? none : buffers_[index];
}

ObjectVersion StepCursor::version() const {
  if (stored_version_) return *stored_version_;
  return op_->is_metadata() ? env_.versions.of_metadata(op_->object)
                            : env_.versions.of_data(op_->object);
}

}  // namespace lunar::osd
