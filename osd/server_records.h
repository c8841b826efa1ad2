// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <vector>

#include "common/result.h"
#include "osd/store_done.h"

namespace lunar::osd {

// Small durable values of the server itself: its OSD map, unflushed marks, lost writes, versions,
// fences. They are no objects and belong to no pool. One of the interfaces that an ObjectStore is
// made of; a fake of it implements nothing else.
// Loop-bound to the center of the store. `done` is as store_done.h says.
class ServerRecords {
 public:
  using RecordValue = std::vector<std::byte>;  // at most 64 MiB
  virtual ~ServerRecords() = default;

  // Replaces the record, durably at done and atomically: after a crash it has either value. Puts
  // take effect in call order; get_record() gives the new value from done on. An empty value
  // removes the record. Keys are 1 … 200 bytes of [a-z0-9._-].
  // Errors: kInvalid (a bad key, too large a value), kNoSpace, kIoError, kShutdown.
  virtual void put_record(const std::string& key, RecordValue value, StoreDone done) = 0;

  // All records are in memory: does not wait. kNoSuchObject if there is none of that key.
  virtual Result<RecordValue> get_record(const std::string& key) const = 0;

  // The keys that begin with `prefix`, in byte order.
  virtual std::vector<std::string> record_keys(const std::string& prefix) const = 0;
};

}  // namespace lunar::osd
