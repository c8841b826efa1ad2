// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/unique_function.h"
#include "msgr/buffer.h"
#include "osd/durability.h"
#include "osd/object_data.h"
#include "osd/object_names.h"
#include "osd/object_vectors.h"
#include "osd/pool_stores.h"
#include "osd/server_records.h"
#include "osd/store_fencing.h"
#include "osd/store_identity.h"
#include "osd/store_space.h"

namespace lunar::osd {

// Where an OSD keeps its objects and its own records: the sum of seven interfaces, and what
// concerns all of it. Whoever needs less takes less: ObjectData, ObjectNames, Durability,
// ServerRecords, StoreSpace, PoolStores or StoreFencing.
// Of a store whose objects several servers reach, StoreFencing names the client of this one.
// FileStore (store/file_store.h), MemStore (store/mem_store.h) and RadosStore (rados/rados_store.h)
// implement it.
// Loop-bound to the center that it was opened on. Owned by who opened it; borrows the center and
// the buffers.
class ObjectStore : public ObjectData,
                    public ObjectNames,
                    public Durability,
                    public ServerRecords,
                    public StoreSpace,
                    public PoolStores,
                    public StoreFencing {
 public:
  // Whose store it is. Does not change while the store is open.
  virtual const StoreIdentity& identity() const noexcept = 0;

  // The pool that payload is best read into and written from: the store may know its memory, so
  // that io_uring needs neither pin nor map it. Any other memory works too.
  virtual msgr::BufferPool& buffers() noexcept = 0;

  // For a store that applies vectors whole; null for one that does not. Lives as long as the
  // store.
  virtual ObjectVectors* vectors() noexcept { return nullptr; }

  // Waits for the calls in progress, flushes, and releases the lock; `done` runs later, once, and
  // is the last that is heard of the store, which may be destroyed in it. Calls made from now on
  // end with kShutdown. REQUIRES: called at most once.
  virtual void shutdown(UniqueFunction<void()> done) = 0;
};

}  // namespace lunar::osd
