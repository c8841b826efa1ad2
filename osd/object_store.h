// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/unique_function.h"
#include "common/uuid.h"
#include "msgr/buffer.h"
#include "objecter/protocol/types.h"
#include "osd/durability.h"
#include "osd/object_data.h"
#include "osd/object_names.h"
#include "osd/server_records.h"

namespace lunar::osd {

using objecter::OsdId;

// Whose store it is. Written by --mkfs, compared with the configuration at every start.
struct StoreIdentity {
  Uuid fsid;       // of the cluster
  Uuid store;      // of this store; made by --mkfs, never reused
  OsdId osd = -1;  // the server it belongs to
};

// Where an OSD keeps its objects and its own records: the sum of four interfaces, and what concerns
// all of it. Whoever needs less takes less: ObjectData, ObjectNames, Durability or ServerRecords.
// Loop-bound to the center that it was opened on. Owned by who opened it; borrows the center and
// the buffers.
class ObjectStore : public ObjectData, public ObjectNames, public Durability, public ServerRecords {
 public:
  // Space of the whole store, in bytes; `available` is what objects can still take.
  struct Usage {
    uint64_t total = 0, used = 0, available = 0;
  };

  // Does not change while the store is open.
  virtual const StoreIdentity& identity() const noexcept = 0;

  // The pool that payload is best read into and written from: the store may know its memory, so
  // that io_uring needs neither pin nor map it. Any other memory works too.
  virtual msgr::BufferPool& buffers() noexcept = 0;

  // A system call, but quick. All zero if the file system does not answer.
  virtual Usage usage() const = 0;

  // Waits for the calls in progress, flushes, and releases the lock; `done` runs later, once, and
  // is the last that is heard of the store, which may be destroyed in it. Calls made from now on
  // end with kShutdown. REQUIRES: called at most once.
  virtual void shutdown(UniqueFunction<void()> done) = 0;
};

}  // namespace lunar::osd
