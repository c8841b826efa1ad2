// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/result.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "osd/object_store.h"
#include "osd/records/record_writer.h"

namespace lunar::osd {

// The starts of a server on its store, by which the map authority tells the store from a copy of
// it. Each start has an incarnation of its own: greater than all before it, and random in its low
// half, so that two copies of a store never share one. The record names the last start that the
// cluster map showed, and those since, each of which the authority may have accepted. A copy lacks
// the starts that the original made after it, and so cannot pass for it.
// Loop-bound. Borrows the records, which outlive it; destroy it only after the `done` of record().
class StoreStarts {
 public:
  static constexpr std::size_t kMaxPrevious = objecter::OsdBoot::kMaxPrevious;

  // Reads the record. `map` is the store's own, or null; it tells which start was accepted last.
  // An error if the record is damaged.
  static Outcome<std::unique_ptr<StoreStarts>> load(ServerRecords& records,
                                                    const StoreIdentity& identity,
                                                    const objecter::OsdMapRef& map);

  // Of this start; not 0.
  uint64_t incarnation() const noexcept { return incarnation_; }
  // Of the starts before it that the authority may have accepted, oldest first.
  const std::vector<uint64_t>& previous() const noexcept { return previous_; }

  // Makes this start durable: nobody may hear of it before done.
  void record(StoreDone done) { writer_.save(std::move(done)); }

 private:
  explicit StoreStarts(ServerRecords& records);
  bool decode(ConstBytes record);
  std::vector<std::byte> encode() const;

  uint64_t incarnation_ = 0;
  std::vector<uint64_t> previous_;
  RecordWriter writer_;
};

}  // namespace lunar::osd
