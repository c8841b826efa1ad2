// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/unique_function.h"
#include "objecter/protocol/osd_map.h"
#include "osd/server_records.h"

namespace lunar::osd {

// Writes maps that come from the authority to the store's record, one after the other; one that is
// overtaken while it waits is left out.
// Loop-bound. Borrows the records; destroy it only when it is not busy.
class MapKeeper {
 public:
  using OnKept = UniqueFunction<void(objecter::OsdMapRef)>;
  // `on_kept` is called with each map once it is durable, or cannot be: it can still be served,
  // because the cluster has it and is asked for it again after a restart.
  MapKeeper(ServerRecords& records, OnKept on_kept);

  // REQUIRES: newer than newest(), and than every map before.
  void keep(objecter::OsdMap map);
  // The newest one that is being written, or waits for that; null if there is none.
  const objecter::OsdMapRef& newest() const noexcept { return next_ ? next_ : saving_; }
  bool is_busy() const noexcept { return saving_ != nullptr; }
  // `done` runs once, after the last on_kept. REQUIRES: is_busy().
  void drain(UniqueFunction<void()> done) { drained_ = std::move(done); }

 private:
  void save_next();

  ServerRecords& records_;
  OnKept on_kept_;
  objecter::OsdMapRef saving_;  // being written
  objecter::OsdMapRef next_;    // to be written after it
  UniqueFunction<void()> drained_;
};

}  // namespace lunar::osd
