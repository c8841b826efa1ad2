// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "osd/object_data.h"
#include "osd/store/file_environment.h"

namespace lunar::osd {

// What an object takes up: its size and its holes. ObjectData's zero(), truncate(), stat() and
// map_extents() over files. What may have to wait is done on the pool's threads; changes may take
// from the reserve, because a full disk must let space be freed.
// Loop-bound. Borrows its environment.
class FileSpace {
 public:
  using Stat = ObjectData::Stat;
  explicit FileSpace(const FileEnvironment& environment) : env_(environment) {}

  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, DataDone done);
  void truncate(const ObjectId& id, uint64_t size, StoreDone done);
  void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done);
  void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                   UniqueFunction<void(Result<ExtentMap>)> done);

 private:
  struct Zeroing;  // a zero() in progress

  // Runs change(fd) on a thread, syncs the file there if `must_sync`, and finishes the call.
  template <typename Change, typename Call>
  void change_file(FileRef file, bool must_sync, Change change, Call call);

  const FileEnvironment env_;
};

}  // namespace lunar::osd
