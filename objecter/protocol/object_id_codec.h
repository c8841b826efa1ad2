// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/bytes.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// An object's id as messages and records have it: the pool in 8 bytes, and the name as a string
// with its length in 4 (docs/protocol-osd.md). Pure. Ops carry the name alone, beside their PG.
// Appends it to what `w` writes. REQUIRES: the id is one that get_object_id() takes.
void put_object_id(ByteWriter& w, const ObjectId& id);
// Reads one, without taking memory for a name that is too long. What no object can have makes the
// reader's ok() false: pool 0, or a name that is not valid.
ObjectId get_object_id(ByteReader& r);

}  // namespace lunar::objecter
