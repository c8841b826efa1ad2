// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/file.h"
#include "common/mutex.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "objecter/protocol/types.h"
#include "osd/store/syscalls.h"

namespace lunar::osd {

using objecter::ObjectId;
using objecter::PoolId;

// Where an object lives, relative to the store's folder: pool.<id>/xx/yy/o.<name>, xx and yy from
// the crc of the name, 32 of each. The alphabet of names holds nothing a file name could not.
struct ObjectPath {
  explicit ObjectPath(const ObjectId& id);
  std::string full() const { return folder + "/" + file; }
  std::string sidecar() const { return "x." + file.substr(2); }
  std::string folder;
  std::string file;
};
std::string pool_folder(PoolId pool);
// The name in "o.<name>"; nothing for any other file.
std::optional<std::string_view> object_name_of(std::string_view file) noexcept;
// Whether a file is the sidecar of some object.
inline bool is_sidecar_name(std::string_view file) noexcept { return file.starts_with("x."); }

// True for 1 … 200 bytes of the alphabet of names, and a pool.
bool is_valid_object_id(const ObjectId& id) noexcept;

// The folders of one store. Every path is resolved beneath its root, through no symbolic link and
// no mount. Blocking, but for open_cached(). Thread-safe. Owns the root's descriptor. Errors are
// the system's.
class StoreTree {
 public:
  StoreTree(Syscalls& syscalls, UniqueFd root) : syscalls_(syscalls), root_(std::move(root)) {}

  int root() const noexcept { return root_.get(); }
  Syscalls& syscalls() const noexcept { return syscalls_; }

  // From the kernel's caches only: resource_unavailable_try_again if it would have to wait.
  Result<UniqueFd> open_cached(const ObjectId& id) const;
  struct Opened {
    UniqueFd fd;
    bool is_new = false;  // its folder must be synced for the name to be durable
  };
  // Makes the folders of a new object as needed, durably: only names in the last one are ever not
  // durable.
  Result<Opened> open(const ObjectId& id, bool may_create) const;

  // Unlinks object and sidecar; durable after a sync of the folder. ENOENT: there was neither.
  std::error_code remove(const ObjectId& id) const;
  // Moves tmp/<temporary> over folder/file, making the folder; durable after a sync of it.
  std::error_code move_into_place(const std::string& temporary, const std::string& folder,
                                  const std::string& file) const;
  // How a sync of a folder ended. Told apart because only a failed sync is a loss.
  struct FolderSync {
    std::error_code open;  // it was not tried: the folder is as dirty as it was
    std::error_code sync;  // names may be lost; also if the disk does not give the folder itself
    std::error_code error() const noexcept { return open ? open : sync; }
  };
  FolderSync sync_folder(const std::string& folder) const;  // "." is the root

  Result<UniqueFd> open_folder(const std::string& folder) const;
  Result<UniqueFd> open_file(const std::string& path, int flags, mode_t mode = 0) const;
  // Errors: file_too_large.
  Result<std::vector<std::byte>> read_small(const std::string& path, std::size_t limit) const;
  std::error_code write_all(int fd, ConstBytes from) const;
  // Writes tmp/<temporary>, lets `prepare` add to it, and syncs it. On an error it is gone again.
  std::error_code write_temporary(const std::string& temporary, ConstBytes from,
                                  UniqueFunction<std::error_code(int fd)> prepare = nullptr) const;
  // Replaces folder/file, atomically and durably.
  std::error_code replace_small(const std::string& folder, const std::string& file,
                                ConstBytes from) const;
  // Names in a folder, without . and .. ; an absent folder is empty.
  struct Entry {
    std::string name;
    unsigned char type;  // DT_*
  };
  Result<std::vector<Entry>> entries(const std::string& folder) const;

 private:
  std::error_code make_folders(const std::string& folder) const;
  std::error_code make_folders_locked(const std::string& folder) const REQUIRES(folders_mutex_);

  Syscalls& syscalls_;
  const UniqueFd root_;
  // Held from a folder's making to its sync. Who puts a name into a folder takes it once
  // afterwards: the folder may be another thread's, not synced yet.
  mutable Mutex folders_mutex_;
  mutable std::error_code folders_error_
      GUARDED_BY(folders_mutex_);  // such a sync failed: for good
};

}  // namespace lunar::osd
