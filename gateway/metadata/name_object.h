// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/pool_objects.h"

namespace lunar::gateway {

// The object that maps one image name to its id, as rbd_id.NAME does: {"format": 1, "id": "16 hex
// digits"}. All of a pool are its directory. Tasks, as those of metadata_object.h.
//
// Order of changes, so that an interruption leaves nothing that lies: create writes the header and
// then the name; remove marks the header, deletes data, header, and last the name; image_rename.cc
// has the order of renaming. The header is the truth: a name that it does not have is left over.

objecter::ObjectId name_object_of(objecter::PoolId pool, std::string_view name);
// The image name that an object's name says; empty: it is no name object. Pure.
std::string image_name_of(std::string_view object);
// The text of the object, and back. kCorrupt, kIncompatible; `object` names it in their sentences.
std::string encode_name(ImageId id);
Outcome<ImageId> decode_name(std::string_view text, const std::string& object);

// The name to give an image whose own name is taken: NAME-ID. Pure.
std::string spare_name(const std::string& name, ImageId id);

// The object of one name as it is. kCorrupt, kIncompatible: it is illegible.
struct NameContent {
  ImageId id = 0;                   // 0: there is no such object
  objecter::ObjectVersion version;  // also of an absent one
};
Task<Outcome<NameContent>> read_name(Client& client, objecter::PoolId pool, std::string name);

// The id of the image of this name. kNoSuchObject; kIncompatible: the pool has a directory of an
// earlier format, and is to be converted first. An error of its server names that server.
Task<Outcome<ImageId>> find_name(Client& client, objecter::PoolInfo pool, std::string name);

// kNotPermitted if this client is not allowed to make and remove names of the pool. Found out by a
// compare-and-swap that can never succeed.
Task<Outcome<void>> require_naming_allowed(Client& client, objecter::PoolId pool, std::string name);

// Takes `name` out if it is that of `id`; success if it is not.
Task<Outcome<void>> drop_name(Client& client, objecter::PoolId pool, std::string name, ImageId id);

// All names of the pool, sorted, page by page from all its servers.
struct ImageNames {
  std::vector<std::string> names;
  std::vector<PoolObjects::UnlistedServer> unlisted;  // whose names are missing
};
// kIncompatible as find_name().
Task<Outcome<ImageNames>> list_names(Client& client, objecter::PoolInfo pool);

// What the objects of these names hold, in their order; some dozen are read at once.
struct ReadName {
  std::string name;
  Result<MetadataContent> content;
};
Task<std::vector<ReadName>> read_names(Client& client, objecter::PoolInfo pool,
                                       std::vector<std::string> names);

}  // namespace lunar::gateway
