// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "osd/store/store_tree.h"

namespace lunar::osd {

inline constexpr const char* kRuntimeFile = "runtime.json";

// What must be unchanged for the page cache to have survived the last server.
struct MountInstance {
  std::string boot_id;
  uint64_t device = 0;       // st_dev
  uint64_t file_system = 0;  // statfs f_fsid
  // Which time it is that the file system is mounted: the inode of its folder in /sys/fs, which the
  // kernel makes with the superblock; the same in every mount namespace. 0 if it has none there.
  uint64_t superblock = 0;
  // Otherwise the mount id of statx(2), the one that is never reused where there is one: another
  // one in each mount namespace. 0 if superblock is not.
  uint64_t mount = 0;
  bool operator==(const MountInstance&) const = default;

  static Result<MountInstance> of(const StoreTree& tree);
};

// Kept durably while a server runs, so that the next one can tell. Blocking.
struct RuntimeRecord {
  MountInstance instance;
  bool is_clean = false;  // everything was flushed, nothing was written since
  bool is_lost = false;   // writes may be lost, and nobody has taken note yet

  // A missing or unreadable record counts as a loss.
  static RuntimeRecord read(const StoreTree& tree);
  std::error_code write(const StoreTree& tree) const;
};

// For a store that has just been made.
std::error_code write_clean_runtime_record(const StoreTree& tree);

// True if what was acknowledged but not flushed before may be gone.
bool is_loss(const RuntimeRecord& last, const MountInstance& now) noexcept;

}  // namespace lunar::osd
