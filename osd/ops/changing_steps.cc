// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/changing_steps.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "osd/ops/op_run.h"

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

bool replaces_object(const OsdOpHeader& op) noexcept {
  const auto at = std::find_if(op.steps.begin(), op.steps.end(), [](const SubOp& step) {
    return step.code != OpCode::kAssertVersion;  // looks at the version, which is not damaged
  });
  if (at == op.steps.end()) return false;
  const SubOp& first = *at;
  return first.code == OpCode::kWriteFull || first.code == OpCode::kDelete ||
         (first.code == OpCode::kTruncate && first.length == 0);
}

void ChangingSteps::start() {
  if (!has_begun_ && cursor_.op().is_metadata()) return change_metadata();
  if (!has_begun_) mark();
  start_step();
}

void ChangingSteps::change_metadata() {
  has_begun_ = true;
  metadata_ = std::make_unique<MetadataRun>(cursor_.env(), cursor_.op(), cursor_.index(),
                                            cursor_.data_offset(), [this](OsdErrc error) {
                                              // Its bytes had no room before it got its name.
                                              may_have_changed_ = error != OsdErrc::kNoSpace;
                                              for (; !cursor_.is_at_end(); cursor_.advance())
                                                cursor_.result().error = error;
                                              run_.finish(error);
                                            });
  metadata_->start();
}

void ChangingSteps::mark() {
  has_begun_ = may_have_changed_ = true;
  const auto& steps = cursor_.op().header.steps;
  is_unstable_ = std::any_of(steps.begin() + static_cast<std::ptrdiff_t>(cursor_.index()),
                             steps.end(), [](const SubOp& step) { return !is_stable(step); });
  UnflushedLedger& ledger = cursor_.env().ledger;
  const ImageId image = cursor_.op().header.image;
  // The mark is made while the store writes; the reply waits for both.
  if (is_unstable_ && !ledger.begin_write(image)) wait_for_mark();
  cursor_.env().versions.change_data(object());
}

void ChangingSteps::wait_for_mark() {
  is_marked_ = false;
  const ClientOp& op = cursor_.op();
  cursor_.env().ledger.wait_marked(op.header.image, op.entity(), [this](std::error_code error) {
    is_marked_ = true;
    mark_error_ = wire_error(error);
    if (has_finished_) finish_if_marked();
  });
}

void ChangingSteps::start_step() {
  const SubOp& now = cursor_.step();
  const bool fua = is_fua();
  switch (now.code) {
    case OpCode::kWrite:
      return store().data.write(object(), now.offset, cursor_.data(), fua, write_done());
    case OpCode::kWriteFull:
      return store().names.replace(object(), cursor_.data(), step_done());
    case OpCode::kWriteSame:
      return write_same();
    case OpCode::kZero:
      return store().data.zero(object(), now.offset, now.length, fua, step_done());
    case OpCode::kTruncate:
      return store().data.truncate(object(), now.length,
                                   fua ? then_flush() : StoreDone(step_done()));
    case OpCode::kDelete:
      return remove();
    case OpCode::kSetXattr:
      return store().names.set_xattr(object(), now.name, cursor_.data(),
                                     fua ? then_flush() : StoreDone(step_done()));
    case OpCode::kOrWrite:
      return or_write();
    default:
      LUNAR_CHECK(false, "a step that does not change anything");
  }
}

bool ChangingSteps::is_fua() const noexcept { return (cursor_.step().flags & objecter::kFua) != 0; }

void ChangingSteps::on_changed(std::error_code error) {
  has_changed_ |= !error;
  run_.step_done(wire_error(error));
}

void ChangingSteps::on_written(std::error_code error) {
  if (!has_changed_ && has_changed_nothing(error)) may_have_changed_ = false;
  on_changed(error);
}

StoreDone ChangingSteps::then_flush() {
  return [this](std::error_code error) {
    if (error) return run_.step_done(wire_error(error));
    store().durability.flush(step_done());
  };
}

void ChangingSteps::remove() {
  const bool fua = is_fua();
  if (fua)
    store().names.remove_durably(object(), step_done());
  else
    store().names.remove(object(), step_done());
}

void ChangingSteps::write_same() {
  const SubOp& now = cursor_.step();
  const ConstBytes pattern = cursor_.data();
  if (all_zero(pattern)) {
    const bool fua = is_fua();
    return store().data.zero(object(), now.offset, now.length, fua, step_done());
  }
  Bytes buffer = cursor_.buffer().bytes();
  buffer = buffer.first(buffer.size() / pattern.size() * pattern.size());
  for (std::size_t at = 0; at < buffer.size(); at += pattern.size())
    std::memcpy(buffer.data() + at, pattern.data(), pattern.size());
  write_pattern(buffer, 0);
}

void ChangingSteps::write_pattern(ConstBytes pattern, uint64_t written) {
  const SubOp& now = cursor_.step();
  const uint64_t length = std::min<uint64_t>(pattern.size(), now.length - written);
  const bool fua = is_fua();
  store().data.write(object(), now.offset + written, pattern.first(length), fua,
                     [this, pattern, written, length](std::error_code error) {
                       if (error || written + length == cursor_.step().length)
                         return on_written(error);
                       has_changed_ = true;
                       write_pattern(pattern, written + length);
                     });
}

void ChangingSteps::or_write() {
  const Bytes buffer = cursor_.buffer().bytes();
  store().data.read(object(), cursor_.step().offset, buffer, [this, buffer](std::error_code error) {
    if (error && error != make_error_code(OsdErrc::kNoSuchObject)) {
      may_have_changed_ = has_changed_;
      return on_changed(error);
    }
    const ConstBytes data = cursor_.data();
    for (std::size_t i = 0; i < data.size(); ++i) buffer[i] |= data[i];
    const bool fua = is_fua();
    store().data.write(object(), cursor_.step().offset, buffer, fua, write_done());
  });
}

// --- the end ---

void ChangingSteps::finish() {
  has_finished_ = true;
  finish_if_marked();
}

void ChangingSteps::finish_if_marked() {
  if (!is_marked_) return;  // the mark's callback comes back here
  OsdErrc& error = cursor_.op_result().header.error;
  // There may be room for it now: the op may have freed some.
  const bool is_worth_trying = error == OsdErrc::kOk && mark_error_ == OsdErrc::kNoSpace;
  if (is_worth_trying && !std::exchange(has_marked_again_, true)) return wait_for_mark();
  if (is_unstable_) cursor_.env().ledger.end_write(cursor_.op().header.image);
  if (error == OsdErrc::kOk) error = mark_error_;
  end_damage_if_repaired();
}

void ChangingSteps::end_damage_if_repaired() {
  const UnflushedLedger& ledger = cursor_.env().ledger;
  const bool is_repaired = cursor_.op_result().header.error == OsdErrc::kOk &&
                           replaces_object(cursor_.op().header) && ledger.is_damaged(object());
  if (!is_repaired) return run_.reply();
  // Until the old content cannot come back by a crash, the object is damaged.
  if (!is_unstable_) return end_damage({});
  store().durability.flush([this](std::error_code error) { end_damage(error); });
}

void ChangingSteps::end_damage(std::error_code flush_error) {
  if (flush_error) {
    cursor_.op_result().header.error = wire_error(flush_error);
    return run_.reply();
  }
  cursor_.env().ledger.repaired(object(), [this](std::error_code error) {
    if (error) cursor_.op_result().header.error = wire_error(error);
    run_.reply();
  });
}

}  // namespace lunar::osd
