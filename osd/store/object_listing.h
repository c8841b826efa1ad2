// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>

#include "common/result.h"
#include "osd/object_names.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// What ObjectNames::list() asks for.
struct ObjectListing {
  PoolId pool = 0;
  std::string cursor;  // names after it; "" is before all
  uint32_t limit = 0;
  ObjectNames::NameFilter contains;
};

// Reads all folders of the pool and returns the first names in byte order. Files that lunar-osd did
// not put there are left out, and the first of them is named in the log; `path` is the store's, for
// that. Blocking; any thread. Errors are the system's.
Result<ObjectNames::Names> read_listing(const StoreTree& tree, const std::string& path,
                                        ObjectListing& listing);

}  // namespace lunar::osd
