// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>

#include "osd/object_vectors.h"
#include "osd/ops/step_cursor.h"

namespace lunar::osd {

class OpRun;

// All steps of a vector at once, by a store that applies vectors whole. Nothing is recorded beside
// that store: what it has done is durable, and versions are its own.
// Loop-bound. Owned by its OpRun.
class VectorRun {
 public:
  VectorRun(StepCursor& cursor, OpRun& run) noexcept : cursor_(cursor), run_(run) {}

  // Ends in OpRun::finish(). REQUIRES: the store has vectors, and the op is none of watches.
  void start();

 private:
  void on_applied(VectorResult& result);
  void take_data(std::size_t index, VectorStepResult& step);

  StepCursor& cursor_;
  OpRun& run_;
};

}  // namespace lunar::osd
