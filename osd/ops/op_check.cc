// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_check.h"

#include <algorithm>

namespace lunar::osd {
namespace {

OsdErrc check_step(const SubOp& step, const OpLimits& limits, bool metadata) noexcept {
  const bool changes = objecter::changes_object(step.code);
  const uint64_t bound = metadata && changes ? limits.max_metadata_bytes : limits.max_object_bytes;
  // length is the new size for TRUNCATE and WRITEFULL, and offset 0; what has no range has neither.
  if (step.offset > bound || step.length > bound - step.offset) return OsdErrc::kTooLarge;
  const bool xattr = step.code == OpCode::kGetXattr || step.code == OpCode::kSetXattr;
  return xattr && metadata ? OsdErrc::kInvalid : OsdErrc::kOk;
}

}  // namespace

uint64_t buffer_bytes(const SubOp& step, const OpLimits& limits) noexcept {
  switch (step.code) {
    case OpCode::kRead:
      // How long the object is shows when its turn has come.
      return step.length == 0 ? limits.max_metadata_bytes : step.length;
    case OpCode::kSparseRead:
    case OpCode::kCmpExt:
    case OpCode::kOrWrite:
      return step.length;
    case OpCode::kWriteSame:
      return std::min(step.length, std::max<uint64_t>(kPatternBufferBytes, step.data_length));
    default:
      return 0;
  }
}

bool needs_buffers(const ClientOp& op, const OpLimits& limits) noexcept {
  const auto& steps = op.header.steps;
  return op.pulls() || std::any_of(steps.begin(), steps.end(), [&](const SubOp& step) {
           return buffer_bytes(step, limits) > 0;
         });
}

OsdErrc check_op(const OsdOpHeader& op, const OpLimits& limits) noexcept {
  const bool metadata = (op.flags & objecter::kOpMetadata) != 0;
  bool changing = false;
  bool changing_data = false;
  uint64_t data = 0;
  uint64_t buffers = 0;
  uint64_t reply = 0;
  for (const SubOp& step : op.steps) {
    // Alone, as a LIST.
    if (step.code == OpCode::kFlush || objecter::is_of_watches(step.code)) return OsdErrc::kOk;
    if (step.code == OpCode::kList)
      return max_reply_bytes(step) <= limits.max_reply_bytes ? OsdErrc::kOk : OsdErrc::kTooLarge;
    if (const OsdErrc error = check_step(step, limits, metadata); error != OsdErrc::kOk)
      return error;
    const bool changes = objecter::changes_object(step.code);
    if (changing && !changes) return OsdErrc::kInvalid;
    if (changing_data && step.code == OpCode::kOrWrite) return OsdErrc::kInvalid;
    changing |= changes;
    changing_data |= changes && step.code != OpCode::kSetXattr;
    data += step.data_length;
    buffers += buffer_bytes(step, limits);
    reply += max_reply_bytes(step);
  }
  if (data > limits.max_write_bytes || reply > limits.max_reply_bytes) return OsdErrc::kTooLarge;
  return buffers <= limits.max_read_bytes ? OsdErrc::kOk : OsdErrc::kTooLarge;
}

}  // namespace lunar::osd
