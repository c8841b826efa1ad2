// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/result.h"
#include "msgr/rdma/device/device.h"

namespace lunar::msgr::rdma {

// Finds out what a device really does by doing it, between QPs of its own that are joined over
// `choice`. What cannot be done comes out false; an error only if not even two QPs can be joined.
// Blocks, each step for a second at most. Borrows; leaves nothing behind.
Result<Features> probe_features(ibv_context& context, ibv_pd& pd, const PortChoice& choice);

}  // namespace lunar::msgr::rdma
