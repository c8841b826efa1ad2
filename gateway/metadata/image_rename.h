// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// How a renaming ended, whoever did it.
struct EndedRenaming {
  ImageHeader header;  // as it is after that; being renamed again, if somebody began to
  std::optional<Error> why_undone;  // it has its old name, as the new one is not to be had
};

// Finishes the renaming that the header is in, whoever began it; nothing to do is success. Undoes
// it if the new name is another image's, or its object illegible. Any number of clients may do this
// at once: `why_undone` is told to the one who undid it. A task, as those of metadata_object.h.
// Errors are sentences: those of read_header(), kBusy if it is renamed on and on, and of silent
// servers; then it can be repeated.
Task<Outcome<EndedRenaming>> finish_renaming(Client& client, objecter::PoolId pool, ImageId id);

}  // namespace lunar::gateway
