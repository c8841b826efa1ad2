// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/vector_run.h"

#include <utility>

#include "osd/ops/op_run.h"
#include "osd/ops/reply_data.h"

namespace lunar::osd {

void VectorRun::start() {
  const ClientOp& op = cursor_.op();
  ObjectVector wanted;
  wanted.object = op.object;
  wanted.steps = op.header.steps;
  wanted.data = op.data();
  wanted.is_repeatable = (op.header.flags & objecter::kOpIdempotent) != 0;
  wanted.buffers.resize(op.header.steps.size());
  for (std::size_t i = 0; i < wanted.buffers.size(); ++i)
    if (msgr::RegisteredBuffer& buffer = cursor_.buffer_of(i); buffer)
      wanted.buffers[i] = buffer.bytes();
  cursor_.env().store.vectors->apply(std::move(wanted),
                                     [this](VectorResult& result) { on_applied(result); });
}

void VectorRun::on_applied(VectorResult& result) {
  for (std::size_t i = 0; i < result.steps.size(); ++i, cursor_.advance()) {
    cursor_.result().error = result.steps[i].error;
    cursor_.result().value = result.steps[i].value;
    if (result.error == OsdErrc::kOk) take_data(i, result.steps[i]);
  }
  cursor_.set_version(result.version);
  run_.finish(result.error);
}

void VectorRun::take_data(std::size_t index, VectorStepResult& step) {
  const auto add_filled = [&] {
    ReplyData data;
    data.buffer = std::move(cursor_.buffer());
    data.length = step.filled;
    cursor_.add_data(std::move(data));
  };
  const SubOp& now = cursor_.op().header.steps[index];
  switch (now.code) {
    case OpCode::kRead:
      if (now.length != 0) return add_filled();
      if (step.filled > 0)
        cursor_.add_data(whole_object_data(std::move(cursor_.buffer()), step.filled));
      return;
    case OpCode::kSparseRead:
      cursor_.add_data(extent_map_data(step.extents));
      if (step.filled > 0) add_filled();
      return;
    case OpCode::kMapExtents:
      return cursor_.add_data(extent_map_data(step.extents));
    case OpCode::kGetXattr: {
      ReplyData data;
      data.small = std::move(step.attribute);
      return cursor_.add_data(std::move(data));
    }
    default:
      return;
  }
}

}  // namespace lunar::osd
