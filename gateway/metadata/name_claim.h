// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// Changes of a name object that depend on what a header says of the name. A version of a metadata
// object never comes back, also not after its deletion (osd/records/object_versions.h). So the two
// rules that keep every image reachable by ImageHeader::lasting_name():
// - a name object is deleted, or given to another image, at the version that was read before the
//   header that does not need it;
// - the lasting name of an image that has one becomes another only after that one's object was
//   written while the header said that it is to come; it is written also if it is there already.
// Whoever decided to delete it before that write has read an older version, and fails.
// Tasks, as those of metadata_object.h; errors are sentences.

// kExists if the name is not to be had for `id`: the header of another image has it, or is gone or
// illegible. kCorrupt, kIncompatible: its object is illegible.
Task<Outcome<void>> require_name_free(Client& client, objecter::PoolId pool, std::string name,
                                      ImageId id);

// Writes the name object of `name`, for `id`, over one that is left over too. Errors as those of
// require_name_free(); kBusy if it changes all the time.
Task<Outcome<void>> take_name(Client& client, objecter::PoolId pool, std::string name, ImageId id);

// One attempt. False: somebody changed the object meanwhile, or the outcome is unknown.
Task<Outcome<bool>> try_to_take_name(Client& client, objecter::PoolId pool, std::string name,
                                     ImageId id);

// Deletes the name object of `name` if it leads to `id`, whose header does not need it. Success too
// if there is no such object, or the header needs it. kNoSuchObject without a header; kCorrupt and
// kIncompatible of either object; kBusy as above.
Task<Outcome<void>> drop_unneeded_name(Client& client, objecter::PoolId pool, std::string name,
                                       ImageId id);

// Gives an image that nothing leads to its name: `name`, or spare_name() if another image has that.
// The header gets it first, at the version that was found, then its object is written; so a
// renaming that the header says is over. The name that it has then. kBusy if the header has
// changed.
Task<Outcome<std::string>> give_name(Client& client, objecter::PoolId pool, VersionedHeader found,
                                     std::string name);

}  // namespace lunar::gateway
