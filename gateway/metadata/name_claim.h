// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// Changes of a name object that depend on what a header says of the name. A version of a metadata
// object never comes back, also not after its deletion (osd/records/object_versions.h). So the two
// rules that keep every image reachable by ImageHeader::lasting_name():
// - a name object is deleted, or given to another image, at the version that was read before the
//   header that does not need it;
// - a name becomes the lasting one only after its object was written while the header said that it
//   is to come; it is written also if it is there already.
// Whoever decided to delete it before that write has read an older version, and fails.
// Tasks, as those of metadata_object.h; errors are sentences.

// kExists if the name is not to be had for `id`: the header of another image has it, or is gone or
// illegible. kCorrupt, kIncompatible: its object is illegible.
Task<Outcome<void>> require_name_free(Client& client, objecter::PoolId pool, std::string name,
                                      ImageId id);

// Writes the name object of `name`, for `id`, over one that is left over too. Errors as those of
// require_name_free().
Task<Outcome<void>> take_name(Client& client, objecter::PoolId pool, std::string name, ImageId id);

// One attempt. False: somebody changed the object meanwhile, or the outcome is unknown.
Task<Outcome<bool>> try_to_take_name(Client& client, objecter::PoolId pool, std::string name,
                                     ImageId id);

// Deletes the name object of `name` if it leads to `id`, whose header does not have the name.
// Success too if there is no such object, or the header has it.
Task<Outcome<void>> drop_stale_name(Client& client, objecter::PoolId pool, std::string name,
                                    ImageId id);

}  // namespace lunar::gateway
