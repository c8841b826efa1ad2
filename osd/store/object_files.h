// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <functional>
#include <list>
#include <memory>
#include <unordered_map>

#include "common/file.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

using objecter::ObjectId;

// One open file of an object. Loop-bound, but for the descriptors, which jobs of the object use.
struct ObjectFile {
  ObjectFile(ObjectId object, UniqueFd descriptor)
      : id(std::move(object)), fd(std::move(descriptor)) {}
  const ObjectId id;
  UniqueFd fd;
  UniqueFd direct;              // the same with O_DIRECT, once it was wanted
  bool is_dirty = false;        // has bytes that no sync has covered: stays open
  bool needs_fsync = false;     // an xattr changed: fdatasync may leave it out
  bool is_entry_dirty = false;  // its name is not durable yet
};
// Shared by the cache, the calls in progress, the dirty list and a running flush; each of them is
// on the loop, so the count says who else uses the file.
using FileRef = std::shared_ptr<ObjectFile>;

// The open files, most recently used first, at most `limit` of them unless all are dirty or in use:
// only a descriptor open since the write reliably reports its write-back error.
// Loop-bound. Shares ownership of the files.
class ObjectFiles {
 public:
  explicit ObjectFiles(std::size_t limit) : limit_(limit) {}

  // Null if it is not open.
  FileRef find(const ObjectId& id);
  // Keeps what is already there for the id, and then closes `fd`.
  FileRef insert(const ObjectId& id, UniqueFd fd);
  void forget(const ObjectId& id);
  void clear();
  void evict();  // what is clean and unused, oldest first, down to the limit
  std::size_t size() const noexcept { return index_.size(); }
  std::size_t limit() const noexcept { return limit_; }
  bool is_over_limit() const noexcept { return index_.size() > limit_; }

 private:
  struct Hash {
    std::size_t operator()(const ObjectId& id) const noexcept {
      return std::hash<std::string>()(id.name) ^ (id.pool * 0x9e3779b97f4a7c15U);
    }
  };
  void evict(std::size_t tries);

  const std::size_t limit_;
  std::list<FileRef> recent_;
  std::unordered_map<ObjectId, std::list<FileRef>::iterator, Hash> index_;
};

}  // namespace lunar::osd
