// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// Finishes the renaming that the header is in, whoever began it, or undoes it if another image has
// the new name, or that name is illegible: kExists, kCorrupt or kIncompatible then, if it was us
// who undid it. Any number of clients may do this at once. Gives the header as it is after that;
// nothing to do: as it is. A task, as those of metadata_object.h; errors are sentences.
Task<Outcome<ImageHeader>> finish_renaming(Client& client, objecter::PoolId pool, ImageId id);

}  // namespace lunar::gateway
