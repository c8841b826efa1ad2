// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstring>

#include "osd/ops/metadata_run.h"
#include "osd/ops/op_run.h"

// The steps that change an object. Each ends in step_done(), which goes on with the next.

namespace lunar::osd {
namespace {

bool all_zero(ConstBytes bytes) noexcept {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte b) { return b == std::byte{0}; });
}

// Replaces the object durably whatever its flags say.
bool is_stable(const SubOp& step) noexcept {
  return (step.flags & objecter::kFua) != 0 || step.code == OpCode::kWriteFull;
}

}  // namespace

bool OpRun::replaces_object() const noexcept {
  const SubOp& first = op_->header.steps.front();
  return first.code == OpCode::kWriteFull || first.code == OpCode::kDelete ||
         (first.code == OpCode::kTruncate && first.length == 0);
}

void OpRun::begin_changes() {
  if (op_->is_metadata()) {
    changing_ = true;
    metadata_ =
        std::make_unique<MetadataRun>(env_, *op_, index_, data_offset_, [this](OsdErrc error) {
          for (; index_ < op_->header.steps.size(); ++index_) step_result().error = error;
          finish(error);
        });
    return metadata_->start();
  }
  mark_changes();
  start_changing_step();
}

// What must be known of a data object before the store changes it.
void OpRun::mark_changes() {
  changing_ = true;
  const auto& steps = op_->header.steps;
  unstable_ = std::any_of(steps.begin() + static_cast<std::ptrdiff_t>(index_), steps.end(),
                          [](const SubOp& step) { return !is_stable(step); });
  // The mark is made while the store writes; the reply waits for both.
  if (unstable_ && !env_.ledger.begin_write(op_->header.image)) {
    marked_ = false;
    env_.ledger.wait_marked(op_->header.image, [this](std::error_code error) {
      marked_ = true;
      mark_error_ = wire_error(error);
      if (changes_done_) finish_changes();
    });
  }
  env_.versions.change_data(op_->object);
}

void OpRun::start_changing_step() {
  const SubOp& now = step();
  const bool fua = (now.flags & objecter::kFua) != 0;
  switch (now.code) {
    case OpCode::kWrite:
      return env_.store.write(op_->object, now.offset, step_data(), fua, change_done());
    case OpCode::kWriteFull:
      return env_.store.replace(op_->object, step_data(), change_done());
    case OpCode::kWriteSame:
      return write_same();
    case OpCode::kZero:
      return env_.store.zero(op_->object, now.offset, now.length, fua, change_done());
    case OpCode::kTruncate:
      return env_.store.truncate(op_->object, now.length, fua ? then_sync() : change_done());
    case OpCode::kDelete:
      return remove();
    case OpCode::kSetXattr:
      return env_.store.set_xattr(op_->object, now.name, step_data(),
                                  fua ? then_sync() : change_done());
    case OpCode::kOrWrite:
      return or_write();
    default:
      LUNAR_CHECK(false, "a step that does not change anything");
  }
}

// What could not be made durable the ledger hears from the store before we hear of it here.
StoreDone OpRun::then_sync() {
  return [this](std::error_code error) {
    if (error) return step_done(wire_error(error));
    env_.store.flush(change_done());
  };
}

void OpRun::remove() {
  const bool fua = (step().flags & objecter::kFua) != 0;
  if (fua)
    env_.store.remove_durably(op_->object, change_done());
  else
    env_.store.remove(op_->object, change_done());
}

void OpRun::write_same() {
  const SubOp& now = step();
  const ConstBytes pattern = step_data();
  if (all_zero(pattern)) {
    const bool fua = (now.flags & objecter::kFua) != 0;
    return env_.store.zero(op_->object, now.offset, now.length, fua, change_done());
  }
  Bytes buffer = buffers_[index_].bytes();
  buffer = buffer.first(buffer.size() / pattern.size() * pattern.size());
  for (std::size_t at = 0; at < buffer.size(); at += pattern.size())
    std::memcpy(buffer.data() + at, pattern.data(), pattern.size());
  write_pattern(buffer, 0);
}

void OpRun::write_pattern(ConstBytes pattern, uint64_t written) {
  const SubOp& now = step();
  const uint64_t piece = std::min<uint64_t>(pattern.size(), now.length - written);
  const bool fua = (now.flags & objecter::kFua) != 0;
  env_.store.write(op_->object, now.offset + written, pattern.first(piece), fua,
                   [this, pattern, written, piece](std::error_code error) {
                     if (error || written + piece == step().length)
                       return step_done(wire_error(error));
                     write_pattern(pattern, written + piece);
                   });
}

void OpRun::or_write() {
  const Bytes buffer = buffers_[index_].bytes();
  env_.store.read(op_->object, step().offset, buffer, [this, buffer](std::error_code error) {
    if (error && error != make_error_code(OsdErrc::kNoSuchObject))
      return step_done(wire_error(error));
    const ConstBytes data = step_data();
    for (std::size_t i = 0; i < data.size(); ++i) buffer[i] |= data[i];
    const bool fua = (step().flags & objecter::kFua) != 0;
    env_.store.write(op_->object, step().offset, buffer, fua, change_done());
  });
}

}  // namespace lunar::osd
