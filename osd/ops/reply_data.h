// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "msgr/buffer.h"
#include "osd/ops/client_op.h"

namespace lunar::osd {

// What the steps of a vector return, as it goes into the reply.

// The first `size` bytes of the buffer that a whole object was read into. A small object is copied,
// so that its reply does not keep a buffer for the largest.
ReplyData whole_object_data(msgr::RegisteredBuffer buffer, std::size_t size);

// Joins neighbours, those with the smallest gaps first, until at most `limit` extents are left.
void join_extents(objecter::ExtentMap& map, uint64_t limit);

ReplyData extent_map_data(const objecter::ExtentMap& map);

}  // namespace lunar::osd
