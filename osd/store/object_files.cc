// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/object_files.h"

namespace lunar::osd {

namespace {
// An insert looks at no more than this many old files: with all of them dirty it must stay cheap.
constexpr std::size_t kEvictionTries = 16;
}  // namespace

FileRef ObjectFiles::find(const ObjectId& id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return nullptr;
  recent_.splice(recent_.begin(), recent_, found->second);
  return *found->second;
}

FileRef ObjectFiles::insert(const ObjectId& id, UniqueFd fd) {
  if (FileRef existing = find(id)) return existing;
  recent_.push_front(std::make_shared<ObjectFile>(id, std::move(fd)));
  index_.emplace(id, recent_.begin());
  FileRef file = recent_.front();
  evict(kEvictionTries);
  return file;
}

void ObjectFiles::evict() { evict(index_.size()); }

void ObjectFiles::evict(std::size_t tries) {
  for (auto at = recent_.end(); is_over_limit() && tries > 0 && at != recent_.begin(); --tries) {
    --at;
    if ((*at)->is_dirty || at->use_count() > 1) continue;
    index_.erase((*at)->id);
    at = recent_.erase(at);
  }
}

void ObjectFiles::forget(const ObjectId& id) {
  const auto found = index_.find(id);
  if (found == index_.end()) return;
  const auto at = found->second;
  index_.erase(found);
  recent_.erase(at);
}

void ObjectFiles::clear() {
  index_.clear();
  recent_.clear();
}

}  // namespace lunar::osd
