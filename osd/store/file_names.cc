// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/file_names.h"

#include <fmt/format.h>

#include <cerrno>
#include <utility>
#include <vector>

#include "osd/store/object_limits.h"
#include "osd/store/object_listing.h"
#include "osd/store/store_error.h"

namespace lunar::osd {

using objecter::OsdErrc;

namespace {

constexpr uint64_t kMaxMetadataBytes = 1 << 20;

// More than metadata has is data, and must not take from the reserve.
bool is_data(ConstBytes from) { return from.size() > kMaxMetadataBytes; }

bool is_valid_attribute_name(const std::string& name) {
  return name.size() <= kMaxAttributeNameBytes && objecter::is_valid_object_name(name);
}

std::error_code check_attribute(const ObjectId& id, const std::string& name) {
  if (!is_valid_attribute_name(name)) return OsdErrc::kInvalid;
  return check_id(id);
}

}  // namespace

void FileNames::remove(const ObjectId& id, bool is_durable, StoreDone done) {
  if (!env_.calls.admit(check_id(id), done)) return;
  env_.pool.run([this, id] { return env_.reserve.use_for([&] { return env_.tree.remove(id); }); },
                [this, id, is_durable, done = std::move(done)](std::error_code error) mutable {
                  const bool was_absent = error == system_error(ENOENT);
                  if (error && !was_absent) {
                    // The object is there as before, with what is unsynced of it; its sidecar may
                    // be gone.
                    env_.flusher.mark_folder(ObjectPath(id).folder);
                    return env_.calls.finish(std::move(done), to_store_error(error));
                  }
                  if (!is_durable && !was_absent) env_.flusher.mark_folder(ObjectPath(id).folder);
                  // Synced also where nothing was: an earlier removal of it might not be durable
                  // yet.
                  finish_change(id, is_durable, std::move(done));
                });
}

void FileNames::replace(const ObjectId& id, ConstBytes from, StoreDone done) {
  if (!env_.calls.admit(check_id(id), done)) return;
  const uint64_t claimed = is_data(from) ? from.size() : 0;
  if (claimed > 0 && !env_.space.claim(claimed)) {
    return env_.calls.finish(std::move(done), OsdErrc::kNoSpace);
  }
  env_.pool.run([this, id, from] { return replace_on_thread(id, from); },
                [this, id, claimed, done = std::move(done)](std::error_code error) mutable {
                  if (claimed > 0) env_.space.release(claimed);
                  if (error) return env_.calls.finish(std::move(done), to_store_error(error));
                  finish_change(id, true, std::move(done));
                });
}

std::error_code FileNames::replace_on_thread(const ObjectId& id, ConstBytes from) const {
  const ObjectPath path(id);
  const std::string temporary = fmt::format("object.{}.{}", id.pool, id.name);
  const auto keep_attributes = [&](int fd) -> std::error_code {
    auto old = env_.tree.open(id, false);
    if (old) return env_.attributes.copy(old->fd.get(), fd);
    return old.error() == system_error(ENOENT) ? std::error_code{} : old.error();
  };
  const auto replace_file = [&]() -> std::error_code {
    if (const auto error = env_.tree.write_temporary(temporary, from, keep_attributes)) {
      return error;
    }
    return env_.tree.move_into_place(temporary, path.folder, path.file);
  };
  return is_data(from) ? replace_file() : env_.reserve.use_for(replace_file);
}

void FileNames::finish_change(const ObjectId& id, bool must_sync, StoreDone done) {
  UniqueFd last;
  // Closing the last descriptor frees the blocks, which takes time: not on the loop.
  if (FileRef file = env_.files.forget(id); file && file.use_count() == 1) {
    last = std::move(file->fd);
  }
  if (!last && !must_sync) return env_.calls.finish(std::move(done), {});
  env_.pool.run(
      [this, folder = ObjectPath(id).folder, must_sync, last = std::move(last)]() mutable {
        last.reset();
        return must_sync ? env_.tree.sync_folder(folder) : StoreTree::FolderSync{};
      },
      [this, id, done = std::move(done)](StoreTree::FolderSync synced) mutable {
        if (synced.open == system_error(ENOENT)) synced.open = {};  // nor was the folder there
        if (synced.open) env_.flusher.mark_folder(ObjectPath(id).folder);
        if (synced.sync) return finish_after_loss(synced.sync, id, std::move(done));
        env_.calls.finish(std::move(done), to_store_error(synced.open));
      });
}

void FileNames::finish_after_loss(std::error_code error, const ObjectId& id, StoreDone done) {
  env_.flusher.on_failed_sync(error, id, [this, error, done = std::move(done)]() mutable {
    env_.calls.finish(std::move(done), to_store_error(error));
  });
}

void FileNames::set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                          StoreDone done) {
  std::error_code refusal = check_attribute(id, name);
  if (!refusal && value.size() > kMaxAttributeBytes) refusal = OsdErrc::kTooLarge;
  if (!env_.calls.admit(refusal, done)) return;
  UniqueFunction<void(Result<FileRef>)> then =
      [this, name, value = AttributeValue(value.begin(), value.end()),
       done = std::move(done)](Result<FileRef> file) mutable {
        if (!file) return env_.calls.finish(std::move(done), to_store_error(file.error()));
        env_.pool.run(
            [this, file = *file, name = std::move(name), value = std::move(value)] {
              return env_.reserve.use_for(
                  [&] { return env_.attributes.set(file->id, file->fd.get(), name, value); });
            },
            [this, file = *file, done = std::move(done)](std::error_code error) mutable {
              file->needs_fsync = true;
              env_.flusher.mark(file);
              if (env_.attributes.home() == AttributeHome::kSidecar) {
                env_.flusher.mark_folder(ObjectPath(file->id).folder);
              }
              env_.calls.finish(std::move(done), to_store_error(error));
            });
      };
  env_.files.open(id, true, std::move(then));
}

void FileNames::get_xattr(const ObjectId& id, const std::string& name,
                          UniqueFunction<void(Result<AttributeValue>)> done) {
  if (!env_.calls.admit(check_attribute(id, name), done)) return;
  UniqueFunction<void(Result<FileRef>)> then =
      [this, name, done = std::move(done)](Result<FileRef> file) mutable {
        if (!file) return env_.calls.finish(std::move(done), failure(to_store_error(file.error())));
        env_.pool.run(
            [this, file = *file, name = std::move(name)] {
              return env_.attributes.get(file->id, file->fd.get(), name);
            },
            [this, file = *file, done = std::move(done)](Result<AttributeValue> value) mutable {
              if (!value) value = failure(to_store_error(value.error()));
              env_.calls.finish(std::move(done), std::move(value));
            });
      };
  env_.files.open(id, false, std::move(then));
}

// On a thread of its own: it reads all folders of the pool, and others wait for one object.
void FileNames::list(PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
                     UniqueFunction<void(Result<Names>)> done) {
  if (!env_.calls.admit({}, done)) return;
  env_.walks.run(
      [this, listing = ObjectListing{pool, cursor, limit, std::move(contains)}]() mutable {
        return read_listing(env_.tree, path_, listing);
      },
      [this, done = std::move(done)](Result<Names> names) mutable {
        if (!names) names = failure(to_store_error(names.error()));
        env_.calls.finish(std::move(done), std::move(names));
      });
}

}  // namespace lunar::osd
