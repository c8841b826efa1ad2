// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <system_error>
#include <vector>

#include "common/task.h"
#include "gateway/client.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::gateway {

// The names of a pool's objects, as its servers list them. A walk through the files of the pool on
// each server: for repair, not for the path of an IO. A task, as those of metadata_object.h.
struct PoolObjects {
  // A PG whose objects are not known, or not all of them.
  struct UnlistedPg {
    objecter::PgId pg;
    objecter::OsdId osd = -1;  // which should have listed it
    std::error_code error;
  };
  std::vector<std::string> names;  // sorted
  std::vector<UnlistedPg> unlisted;
};

// All names that begin with `prefix`; "" is every one. A server that fails or is down is not asked
// again: its other PGs are unlisted too.
Task<PoolObjects> list_objects(Client& client, objecter::PoolInfo pool, std::string prefix);

}  // namespace lunar::gateway
