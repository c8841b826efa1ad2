// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::gateway {

// Fences the start of a gateway that a registration names, and its earlier ones, at every server of
// the pool: at the end none of its ops is under way, and none will be carried out. Success only if
// every server has said so. Nothing lifts such a fence: only a newer start of that gateway is let
// in, also if it holds at some of the servers only. Errors are sentences: kNotPermitted (another
// entity's gateway, and no admin), kTimedOut (a server that is down might carry out ops when it
// comes back). A task, as those of metadata_object.h.
Task<Outcome<void>> fence_start(Client& client, objecter::PoolInfo pool, Registration who);

}  // namespace lunar::gateway
