// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Making, replacing, listing and removing whole objects, and their named values.
#include <dirent.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "common/log.h"
#include "osd/store/file_store_impl.h"

namespace lunar::osd {

using objecter::OsdErrc;

namespace {

// After the change, was the sync; told apart because a failed sync of the folder is a loss.
struct Replaced {
  std::error_code change;
  std::error_code sync;
};

// The `limit` smallest names, in a heap whose top is the largest.
class SmallestNames {
 public:
  explicit SmallestNames(std::size_t limit) : limit_(limit) {}
  bool wants(std::string_view name) const {
    return names_.size() < limit_ || name < names_.front();
  }
  void add(std::string name) {
    if (names_.size() == limit_) {
      std::pop_heap(names_.begin(), names_.end());
      names_.pop_back();
    }
    names_.push_back(std::move(name));
    std::push_heap(names_.begin(), names_.end());
  }
  std::vector<std::string> sorted() && {
    std::sort_heap(names_.begin(), names_.end());
    return std::move(names_);
  }

 private:
  const std::size_t limit_;
  std::vector<std::string> names_;
};

bool is_valid_attribute(const std::string& name) {
  return name.size() <= kMaxAttributeNameBytes && objecter::is_valid_object_name(name);
}

}  // namespace

void FileStore::remove(const ObjectId& id, StoreDone done) {
  remove_object(id, false, std::move(done));
}
void FileStore::remove_durably(const ObjectId& id, StoreDone done) {
  remove_object(id, true, std::move(done));
}

void FileStore::remove_object(const ObjectId& id, bool durably, StoreDone done) {
  if (!admit(is_valid_object_id(id) ? std::error_code{} : OsdErrc::kInvalid, done)) return;
  UniqueFd last;
  if (FileRef file = files_.find(id)) {
    flusher_->forget(file);
    files_.forget(id);
    // Closing the last descriptor frees the blocks, which takes time: not on the loop.
    if (file.use_count() == 1) last = std::move(file->fd);
  }
  pool_.run(
      [this, id, durably, last = std::move(last)]() mutable -> Replaced {
        Replaced result;
        result.change = reserve_.use_for([&] { return tree_.remove(id); });
        last.reset();
        // Also where nothing was: an earlier removal of it may not be durable yet.
        if (durably && (!result.change || result.change == system_error(ENOENT))) {
          result.sync = tree_.sync_folder(ObjectPath(id).folder);
          if (result.sync == system_error(ENOENT)) result.sync = {};  // nor was the folder there
        }
        return result;
      },
      [this, id, durably, done = std::move(done)](Replaced result) mutable {
        if (result.sync) return end_after_loss(result.sync, id, std::move(done));
        if (result.change == system_error(ENOENT)) {
          result.change = {};
        } else if (!durably || result.change) {
          flusher_->mark_folder(ObjectPath(id).folder);
        }
        finish(std::move(done), to_store_error(result.change));
      });
}

void FileStore::replace(const ObjectId& id, ConstBytes from, StoreDone done) {
  if (!admit(is_valid_object_id(id) ? std::error_code{} : OsdErrc::kInvalid, done)) return;
  if (FileRef file = files_.find(id)) {
    flusher_->forget(file);
    files_.forget(id);
  }
  pool_.run(
      [this, id, from]() -> Replaced {
        const ObjectPath path(id);
        const std::string temporary = fmt::format("object.{}.{}", id.pool, id.name);
        const auto keep_attributes = [&](int fd) -> std::error_code {
          auto old = tree_.open(id, false);
          if (old) return attributes_.copy(old->fd.get(), fd);
          return old.error() == system_error(ENOENT) ? std::error_code{} : old.error();
        };
        Replaced result;
        result.change = reserve_.use_for([&]() -> std::error_code {
          if (const auto error = tree_.write_temporary(temporary, from, keep_attributes)) {
            return error;
          }
          return tree_.move_into_place(temporary, path.folder, path.file);
        });
        if (!result.change) result.sync = tree_.sync_folder(path.folder);
        return result;
      },
      [this, id, done = std::move(done)](Replaced result) mutable {
        if (result.sync) return end_after_loss(result.sync, id, std::move(done));
        finish(std::move(done), to_store_error(result.change));
      });
}

void FileStore::set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                          StoreDone done) {
  std::error_code refusal;
  if (value.size() > kMaxAttributeBytes) refusal = OsdErrc::kTooLarge;
  if (!is_valid_object_id(id) || !is_valid_attribute(name)) refusal = OsdErrc::kInvalid;
  if (!admit(refusal, done)) return;
  struct Set {
    std::string name;
    std::vector<std::byte> value;
    StoreDone done;
  };
  auto op = std::make_unique<Set>(Set{name, {value.begin(), value.end()}, std::move(done)});
  with_file(id, true, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) return finish(std::move(op->done), to_store_error(file.error()));
    Set& set = *op;
    pool_.run(
        [this, file = *file, &set] {
          return reserve_.use_for(
              [&] { return attributes_.set(file->id, file->fd.get(), set.name, set.value); });
        },
        [this, file = *file, op = std::move(op)](std::error_code error) mutable {
          file->needs_fsync = true;
          flusher_->mark(file);
          if (format_.attributes == AttributeHome::kSidecar) {
            flusher_->mark_folder(ObjectPath(file->id).folder);
          }
          finish(std::move(op->done), to_store_error(error));
        });
  });
}

void FileStore::get_xattr(const ObjectId& id, const std::string& name,
                          UniqueFunction<void(Result<AttributeValue>)> done) {
  const bool is_valid = is_valid_object_id(id) && is_valid_attribute(name);
  if (!admit(is_valid ? std::error_code{} : OsdErrc::kInvalid, done)) return;
  struct Get {
    std::string name;
    UniqueFunction<void(Result<AttributeValue>)> done;
  };
  auto op = std::make_unique<Get>(Get{name, std::move(done)});
  with_file(id, false, [this, op = std::move(op)](Result<FileRef> file) mutable {
    if (!file) {
      Result<std::vector<std::byte>> result = failure(to_store_error(file.error()));
      return finish(std::move(op->done), std::move(result));
    }
    Get& get = *op;
    pool_.run(
        [this, file = *file, &get] { return attributes_.get(file->id, file->fd.get(), get.name); },
        [this, file = *file, op = std::move(op)](Result<std::vector<std::byte>> value) mutable {
          if (!value) value = failure(to_store_error(value.error()));
          finish(std::move(op->done), std::move(value));
        });
  });
}

void FileStore::list(PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
                     UniqueFunction<void(Result<Names>)> done) {
  if (!admit({}, done)) return;
  pool_.run(
      [this, pool, cursor, limit, contains = std::move(contains)]() mutable {
        return scan(pool, cursor, limit, contains);
      },
      [this, done = std::move(done)](Result<std::vector<std::string>> names) mutable {
        if (!names) names = failure(to_store_error(names.error()));
        finish(std::move(done), std::move(names));
      });
}

Result<std::vector<std::string>> FileStore::scan(PoolId pool, const std::string& cursor,
                                                 uint32_t limit, NameFilter& contains) const {
  if (limit == 0) return std::vector<std::string>{};
  SmallestNames smallest(limit);
  std::size_t strangers = 0;
  const auto visit = [&](const StoreTree::Entry& entry, const std::string& folder) {
    const auto name = object_name_of(entry.name);
    const bool is_plain = entry.type == DT_REG || entry.type == DT_UNKNOWN;
    const bool is_sidecar = entry.name.starts_with("x.");
    if (!is_plain || (!name && !is_sidecar)) {
      if (strangers++ == 0) {
        LUNAR_LOG(kStore, 0, "{}/{}/{}: was not put there by lunar-osd and is left alone",
                  options_.path, folder, entry.name);
      }
      return;
    }
    if (!name || *name <= cursor || !smallest.wants(*name)) return;
    std::string owned(*name);
    // A copy in a folder that is not its own is none of ours.
    if (ObjectPath({pool, owned}).folder != folder || !contains(owned)) return;
    smallest.add(std::move(owned));
  };
  auto first = tree_.entries(pool_folder(pool));
  if (!first) return failure(first.error());
  for (const auto& outer : *first) {
    const std::string outer_folder = pool_folder(pool) + "/" + outer.name;
    auto second = tree_.entries(outer_folder);
    if (!second && second.error() == system_error(ENOTDIR)) continue;
    if (!second) return failure(second.error());
    for (const auto& inner : *second) {
      const std::string folder = outer_folder + "/" + inner.name;
      auto files = tree_.entries(folder);
      if (!files && files.error() == system_error(ENOTDIR)) continue;
      if (!files) return failure(files.error());
      for (const auto& entry : *files) visit(entry, folder);
    }
  }
  return std::move(smallest).sorted();
}

}  // namespace lunar::osd
