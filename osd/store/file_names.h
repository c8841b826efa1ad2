// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "common/file.h"
#include "osd/object_names.h"
#include "osd/store/file_environment.h"

namespace lunar::osd {

// Makes, replaces, lists and removes whole objects, and keeps their attributes: ObjectNames over
// files. All of it is done on threads: a LIST on that of walks, all others on the pool's. Changes
// may take from the reserve. Loop-bound. Borrows its environment.
class FileNames final : public ObjectNames {
 public:
  // `path` is the store's, for the log.
  FileNames(const FileEnvironment& environment, std::string path)
      : env_(environment), path_(std::move(path)) {}

  void remove(const ObjectId& id, StoreDone done) override { remove(id, false, std::move(done)); }
  void remove_durably(const ObjectId& id, StoreDone done) override {
    remove(id, true, std::move(done));
  }
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override;
  void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                 StoreDone done) override;
  void get_xattr(const ObjectId& id, const std::string& name,
                 UniqueFunction<void(Result<AttributeValue>)> done) override;
  void list(PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
            UniqueFunction<void(Result<Names>)> done) override;

 private:
  void remove(const ObjectId& id, bool is_durable, StoreDone done);
  std::error_code replace_on_thread(const ObjectId& id, ConstBytes from) const;
  // The folder of the object has changed, so that nothing refers to its old file any more: forgets
  // and closes that, and syncs the folder if `must_sync`.
  void finish_change(const ObjectId& id, bool must_sync, StoreDone done);
  void finish_after_loss(std::error_code error, const ObjectId& id, StoreDone done);

  const FileEnvironment env_;
  const std::string path_;
};

}  // namespace lunar::osd
