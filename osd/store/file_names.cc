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
  UniqueFd last;
  // Closing the last descriptor frees the blocks, which takes time: not on the loop.
  if (FileRef file = env_.files.forget(id); file && file.use_count() == 1) {
    last = std::move(file->fd);
  }
  env_.pool.run(
      [this, id, is_durable, last = std::move(last)]() mutable {
        return remove_on_thread(id, is_durable, std::move(last));
      },
      [this, id, is_durable, done = std::move(done)](NameChange result) mutable {
        if (result.sync) return finish_after_loss(result.sync, id, std::move(done));
        if (result.change == system_error(ENOENT)) {
          result.change = {};
        } else if (!is_durable || result.change) {
          env_.flusher.mark_folder(ObjectPath(id).folder);
        }
        env_.calls.finish(std::move(done), to_store_error(result.change));
      });
}

FileNames::NameChange FileNames::remove_on_thread(const ObjectId& id, bool is_durable,
                                                  UniqueFd last) const {
  NameChange result;
  result.change = env_.reserve.use_for([&] { return env_.tree.remove(id); });
  last.reset();
  // Also where nothing was: an earlier removal of it may not be durable yet.
  if (is_durable && (!result.change || result.change == system_error(ENOENT))) {
    result.sync = env_.tree.sync_folder(ObjectPath(id).folder);
    if (result.sync == system_error(ENOENT)) result.sync = {};  // nor was the folder there
  }
  return result;
}

void FileNames::replace(const ObjectId& id, ConstBytes from, StoreDone done) {
  if (!env_.calls.admit(check_id(id), done)) return;
  env_.files.forget(id);
  env_.pool.run([this, id, from] { return replace_on_thread(id, from); },
                [this, id, done = std::move(done)](NameChange result) mutable {
                  if (result.sync) return finish_after_loss(result.sync, id, std::move(done));
                  env_.calls.finish(std::move(done), to_store_error(result.change));
                });
}

FileNames::NameChange FileNames::replace_on_thread(const ObjectId& id, ConstBytes from) const {
  const ObjectPath path(id);
  const std::string temporary = fmt::format("object.{}.{}", id.pool, id.name);
  const auto keep_attributes = [&](int fd) -> std::error_code {
    auto old = env_.tree.open(id, false);
    if (old) return env_.attributes.copy(old->fd.get(), fd);
    return old.error() == system_error(ENOENT) ? std::error_code{} : old.error();
  };
  NameChange result;
  result.change = env_.reserve.use_for([&]() -> std::error_code {
    if (const auto error = env_.tree.write_temporary(temporary, from, keep_attributes)) {
      return error;
    }
    return env_.tree.move_into_place(temporary, path.folder, path.file);
  });
  if (!result.change) result.sync = env_.tree.sync_folder(path.folder);
  return result;
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

void FileNames::list(PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
                     UniqueFunction<void(Result<Names>)> done) {
  if (!env_.calls.admit({}, done)) return;
  env_.pool.run(
      [this, listing = ObjectListing{pool, cursor, limit, std::move(contains)}]() mutable {
        return read_listing(env_.tree, path_, listing);
      },
      [this, done = std::move(done)](Result<Names> names) mutable {
        if (!names) names = failure(to_store_error(names.error()));
        env_.calls.finish(std::move(done), std::move(names));
      });
}

}  // namespace lunar::osd
