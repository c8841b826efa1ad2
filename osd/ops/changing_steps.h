// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>

#include "osd/ops/metadata_run.h"
#include "osd/ops/step_cursor.h"

namespace lunar::osd {

class OpRun;

// The steps of a vector that change its object, and what has to be recorded of that beside the
// store: the mark of the image, the object's version, the end of its damage.
// - Of a data object: one store call after the other. Each step ends in OpRun::step_done().
// - Of a metadata object: all of them together, in memory and then by one crash-atomic replace().
// Loop-bound. Owned by its OpRun.
class ChangingSteps {
 public:
  ChangingSteps(StepCursor& cursor, OpRun& run) noexcept : cursor_(cursor), run_(run) {}

  // Begins the step that the cursor is at; for a metadata object it and all that follow.
  // REQUIRES: it changes the object.
  void start();
  // Before anything of a data object goes to the store: start() does it, or who writes instead.
  void mark();
  bool has_begun() const noexcept { return has_begun_; }
  // The content of the object may not be what it was, though the vector failed.
  bool may_have_changed() const noexcept { return may_have_changed_; }

  // Nothing of ours is inside the store any more, and op_result() says how it went. OpRun::reply()
  // is called, once, later or now, when what is recorded beside the store is recorded.
  void finish();

 private:
  void wait_for_mark();
  void start_step();
  void change_metadata();
  void write_same();
  void write_pattern(ConstBytes pattern, uint64_t written);
  void or_write();
  void remove();
  void finish_if_marked();
  void end_damage_if_repaired();
  void end_damage(std::error_code flush_error);

  bool is_fua() const noexcept;
  const OpStore& store() const noexcept { return cursor_.env().store; }
  const ObjectId& object() const noexcept { return cursor_.op().object; }
  // Ends the step. Of what could not be made durable the store tells the ledger before it calls it.
  auto step_done() noexcept {
    return [this](std::error_code error) { on_changed(error); };
  }
  void on_changed(std::error_code error);
  // The same for a write of the step's data.
  auto write_done() noexcept {
    return [this](std::error_code error) { on_written(error); };
  }
  void on_written(std::error_code error);
  // Ends the step after a flush, for what the store cannot do stably by itself.
  StoreDone then_flush();

  StepCursor& cursor_;
  OpRun& run_;
  bool has_begun_ = false;
  bool may_have_changed_ = false;  // implies has_begun_
  bool has_changed_ = false;       // a step, or a part of one, has succeeded
  bool is_unstable_ = false;       // a write of the image was begun in the ledger, and not ended
  bool is_marked_ = true;          // the image's mark is durable, or none is needed
  bool has_finished_ = false;      // finish() was called
  bool has_marked_again_ = false;  // after the steps, because there was no space for the mark
  OsdErrc mark_error_ = OsdErrc::kOk;
  std::unique_ptr<MetadataRun> metadata_;  // null for a data object
};

// True if the op leaves nothing of the object's old content: such an op repairs a damaged one.
bool replaces_object(const OsdOpHeader& op) noexcept;

}  // namespace lunar::osd
