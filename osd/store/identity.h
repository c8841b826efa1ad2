// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "osd/object_store.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// Where values of set_xattr are kept; found out by --mkfs and fixed from then on.
enum class AttributeHome : uint8_t { kUserXattr, kSidecar };

struct StoreFormat {
  static constexpr int kVersion = 1;
  StoreIdentity identity;
  AttributeHome attributes = AttributeHome::kUserXattr;
};

// Who a store must belong to; what is empty is not compared.
struct ExpectedOwner {
  std::optional<Uuid> fsid;
  std::optional<OsdId> osd;
};

// These explain themselves to a person: each message names the path and what to do. Blocking.

// Opens the folder itself.
Outcome<UniqueFd> open_store_root(const std::string& path);
// Makes the files of a new store in an empty (or missing) folder.
Outcome<StoreFormat> make_store(Syscalls& syscalls, const std::string& path, const Uuid& fsid,
                                OsdId osd);
// Refuses what is not a store, what a newer version made, and another owner's.
Outcome<StoreFormat> read_format(const StoreTree& tree, const std::string& path,
                                 const ExpectedOwner& expected);
// Held as long as the descriptor is open. Refuses while another process holds it, naming its pid.
Outcome<UniqueFd> lock_store(const StoreTree& tree, const std::string& path);
// Empties tmp/. Reports in the log what at the top of the store is not ours.
Outcome<void> clean_up(const StoreTree& tree, const std::string& path);

}  // namespace lunar::osd
