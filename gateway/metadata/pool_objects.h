// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <system_error>
#include <vector>

#include "common/task.h"
#include "gateway/client.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::gateway {

// The names of a pool's objects, as its servers list them. Each page is a walk through the files of
// the pool on a server: for listing and repair, not for the path of an IO. A task, as those of
// metadata_object.h.
struct PoolObjects {
  // A server whose objects are not known, or not all of them.
  struct UnlistedServer {
    objecter::OsdId osd = -1;
    std::error_code error;
  };
  std::vector<std::string> names;        // sorted
  std::vector<UnlistedServer> unlisted;  // sorted
  bool is_cut = false;                   // there are more than were asked for
};

// All names that begin with `prefix`; "" is every one. Each server is asked page by page, and all
// at once; one that fails or is down is not asked again. Of more than `most` names only some are
// found, and no more pages asked for. A damaged object is listed though it may have no file. Of a
// pool in RADOS, whose PGs move, it begins anew when the map changes meanwhile; if that happens too
// often every server counts as one that fails (kStaleMap).
Task<PoolObjects> list_objects(Client& client, objecter::PoolInfo pool, std::string prefix,
                               uint64_t most = UINT64_MAX);

// Whether there is any object of an image that has no header. kUnreachable, or what a server said
// that has not listed its objects, if that leaves it open; it names that server.
Task<Outcome<bool>> has_data(Client& client, objecter::PoolInfo pool, objecter::ImageId image);

}  // namespace lunar::gateway
