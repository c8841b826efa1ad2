// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/uuid.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

using objecter::OsdId;

// Whose store it is, which does not change while it is open. Written by --mkfs; compared with the
// configuration at every start, so that a server never serves the objects of another cluster or
// server. Part of the hello to each client.
// A value.
struct StoreIdentity {
  Uuid fsid;       // of the cluster
  Uuid store;      // of this store; made by --mkfs, never reused
  OsdId osd = -1;  // the server it belongs to
};

}  // namespace lunar::osd
