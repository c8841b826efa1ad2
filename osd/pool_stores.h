// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/result.h"
#include "common/unique_function.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::osd {

// Which pools a store can keep objects of. One of the interfaces that an ObjectStore is made of;
// the definitions here are those of a store of this host, which keeps any pool that has no place of
// its own elsewhere.
// Loop-bound to the center of the store. Who admits ops asks keeps(), who makes pools
// check_new_pool(); a fake of it implements nothing.
class PoolStores {
 public:
  virtual ~PoolStores() = default;

  // Whether objects of the pool can be kept here. No op on any other pool may reach the store: a
  // server of files that took the ops of a pool in RADOS would read what is there as absent.
  virtual bool keeps(const objecter::PoolInfo& pool) const noexcept {
    return pool.store != objecter::StoreKind::kRados;
  }

  // A map is ours: the store prepares for pools that are new to it, and forgets those that are in
  // the map no more. Called with each map, before any op under it; ops on a pool that is not ready
  // yet wait for it, or fail if it cannot be had.
  virtual void on_map(const objecter::OsdMap&) {}

  // Whether a new pool could be kept, which the authority asks before it makes one. `done` runs
  // once, later or now, with a sentence if not.
  virtual void check_new_pool(const objecter::PoolInfo& pool,
                              UniqueFunction<void(Outcome<void>)> done) {
    if (keeps(pool)) return done({});
    done(failure(objecter::OsdErrc::kInvalid,
                 "the servers of a pool in RADOS have osd_objectstore = rados, and this one, the "
                 "map authority, has not"));
  }
};

}  // namespace lunar::osd
