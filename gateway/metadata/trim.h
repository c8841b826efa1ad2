// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// Of more whole objects, a trim asks the servers which of them there are: a large image is mostly
// empty, and an op for each object of 4 PiB takes a day. Deleting so many takes some seconds.
inline constexpr uint64_t kTrimListsFrom = 65'536;

// Frees every byte of the image in [from, to): whole objects are deleted, the rest is zeroed; then
// flushes, and does it again if a server says that it has lost writes meanwhile. At most a few
// dozen ops are in flight. `on_progress` counts deletes, and may be empty. A task, as those of
// metadata_object.h.
Task<std::error_code> trim_image(Client& client, objecter::PoolInfo pool, ImageHeader header,
                                 uint64_t from, uint64_t to, OnProgress on_progress);

}  // namespace lunar::gateway
