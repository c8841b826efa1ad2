// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::gateway {

// The object `lunar_directory`, which had all image names of a pool before each had an object:
// {"format": 1, "images": {"NAME": "16 hex digits"}}. A build that knows no other refuses a later
// format, and so writes no name that this one would not see: the object stays, with format 2 and
// without images, and pools that never had one get it with their first image. Format 2 with images
// is a conversion that was interrupted. Tasks, as those of metadata_object.h.

using NameTable = std::map<std::string, ImageId>;

struct OldDirectory {
  bool is_closed = false;  // to builds that know format 1 only
  NameTable images;        // that have no object of their own, or are not known to have one
};

objecter::ObjectId old_directory_of(objecter::PoolId pool);
// The text of the object, and back. kCorrupt, kIncompatible. Pure.
Outcome<OldDirectory> decode_old_directory(std::string_view text);
std::string encode_old_directory(const OldDirectory& directory);

// kIncompatible, with the command to give, if the pool has names that are to be converted; an error
// too if that is not known. kUnreachable names the server of that object, if it is down.
Task<Outcome<void>> require_no_old_directory(Client& client, objecter::PoolInfo pool);

// The same for whoever makes an image: builds that know format 1 only are shut out from then on.
Task<Outcome<void>> close_old_directory(Client& client, objecter::PoolInfo pool);

}  // namespace lunar::gateway
