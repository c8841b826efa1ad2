// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/bytes.h"
#include "common/inline_function.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

// A vector of steps on one object, for a store that applies it whole. Everything is borrowed until
// its done, but for the lists themselves. A value.
struct ObjectVector {
  objecter::ObjectId object;
  // As check_op() allows them: what checks and returns comes first, and an ORWRITE after no other
  // change of data, so that all of it depends on the content before the vector alone. None of
  // watches, LIST, FLUSH.
  std::vector<objecter::SubOp> steps;
  ConstBytes data;  // of all steps, in order
  // One per step: where the bytes of a READ or SPARSE_READ go, and the memory in which an ORWRITE
  // and a CMPEXT work. Empty for the others.
  std::vector<Bytes> buffers;
  bool is_repeatable = false;  // as kOpIdempotent: applied twice, it does what it does once
};

// What became of one step. A value.
struct VectorStepResult {
  objecter::OsdErrc error = objecter::OsdErrc::kOk;
  uint64_t value = 0;                // as in SubOpResult
  uint64_t filled = 0;               // bytes of the step's buffer
  objecter::ExtentMap extents;       // of a SPARSE_READ or MAP_EXTENTS
  std::vector<std::byte> attribute;  // of a GET_XATTR
};

// What became of a vector. A value.
struct VectorResult {
  objecter::OsdErrc error = objecter::OsdErrc::kOk;  // of the first step that failed
  bool exists = false;              // the object did when the vector was applied, or does by it
  objecter::ObjectVersion version;  // after it; (0, 0): the object is absent
  std::vector<VectorStepResult> steps;
  bool is_fenced = false;  // the store may not write any more (StoreFencing)
};

// Applies a vector to its object at once: all of it or nothing, also when this server, or what
// keeps the objects, dies in the middle. One of the interfaces of a store, which not every store
// has: OpRun goes from step to step where there is none.
// Loop-bound to the center of the store. The caller keeps vectors on one object apart, as for
// ObjectData.
class ObjectVectors {
 public:
  using Done = InlineFunction<void(VectorResult&)>;
  virtual ~ObjectVectors() = default;

  // `done` runs exactly once, later, on the loop. What it changed is durable then. One that may
  // have been applied, or not, and is not repeatable ends with kUnknownOutcome.
  virtual void apply(ObjectVector wanted, Done done) = 0;
};

}  // namespace lunar::osd
