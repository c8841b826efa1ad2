// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "osd/ops/step_cursor.h"

namespace lunar::osd {

class OpRun;

// The steps of a vector that check or return something. Each ends in OpRun::step_done(), later.
// Loop-bound. Owned by its OpRun.
class ReadingSteps {
 public:
  ReadingSteps(StepCursor& cursor, OpRun& run) noexcept : cursor_(cursor), run_(run) {}

  // Begins the step that the cursor is at. REQUIRES: it does not change the object.
  void start();

 private:
  void read();
  void read_whole();
  void sparse_read();
  void read_extent(std::size_t number, uint64_t filled);
  void map_extents();
  void stat();
  void get_xattr();
  void compare();

  const OpStore& store() const noexcept { return cursor_.env().store; }
  const ObjectId& object() const noexcept { return cursor_.op().object; }

  StepCursor& cursor_;
  OpRun& run_;
  objecter::ExtentMap extents_;  // of the SPARSE_READ in progress
};

}  // namespace lunar::osd
