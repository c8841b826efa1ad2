// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

// Makes the steps of an op that a client sends; osd_op.h has what they are, and which of them may
// stand together in one op. A step owns what it holds: no data, which is the op's. All is Pure.

// A step with these fields, and the others as they are by default. `offset` and `length` are bytes
// of the object, or what the code makes of them: a cookie, a timeout. `data_length` is how many
// bytes of the op's data belong to the step. Nothing is checked here: is_valid() does that for an
// op as a whole, before it is sent and when it arrives. Flags, a name and a version are for the
// caller to add: kFua, the name of an xattr, where a listing goes on.
inline SubOp make_step(OpCode code, uint64_t offset = 0, uint64_t length = 0,
                       uint32_t data_length = 0) {
  SubOp step;
  step.code = code;
  step.offset = offset;
  step.length = length;
  step.data_length = data_length;
  return step;
}

// The step that ends its op with kVersionMismatch unless the object has this version: the first of
// a compare-and-swap. The version is one that a server has said; one that is all zero stands for
// an object that is not there. Steps behind it are applied in the same op, so that nobody changes
// the object in between. A step that only looks may follow it, too.
inline SubOp assert_version(ObjectVersion version) {
  SubOp step = make_step(OpCode::kAssertVersion);
  step.version = version;
  return step;
}

}  // namespace lunar::objecter
