// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/map/map_keeper.h"

#include <utility>
#include <vector>

#include "common/log.h"
#include "osd/map/map_authority.h"

namespace lunar::osd {

using objecter::OsdMap;
using objecter::OsdMapRef;

MapKeeper::MapKeeper(ServerRecords& records, OnKept on_kept)
    : records_(records), on_kept_(std::move(on_kept)) {}

void MapKeeper::keep(OsdMap map) {
  next_ = std::make_shared<const OsdMap>(std::move(map));
  if (!saving_) save_next();
}

void MapKeeper::save_next() {
  saving_ = std::exchange(next_, nullptr);
  std::vector<std::byte> record;
  objecter::encode(*saving_, record);
  records_.put_record(kMapRecord, std::move(record), [this](std::error_code error) {
    const OsdMapRef saved = std::exchange(saving_, nullptr);
    if (error)
      LUNAR_ERROR(kMap, "map epoch {} cannot be written: {}", saved->epoch, error.message());
    on_kept_(saved);
    if (next_)
      save_next();
    else if (drained_)
      std::exchange(drained_, {})();
  });
}

}  // namespace lunar::osd
