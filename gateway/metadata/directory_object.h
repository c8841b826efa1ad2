// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "common/result.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// The object that maps image names to ids in a pool: {"format": 1, "images": {"NAME": "16 hex
// digits"}}. Tasks, as those of metadata_object.h.
//
// Order of changes, so that an interruption leaves nothing that lies: create writes the header and
// then the name; remove marks the header, deletes data, header, and last the name.
using Directory = std::map<std::string, ImageId>;

objecter::ObjectId directory_of(objecter::PoolId pool);
// The text of the object, and back. kCorrupt, kIncompatible. Pure.
Outcome<Directory> decode_directory(std::string_view text);
std::string encode_directory(const Directory& directory);

// An absent directory is an empty one.
Task<Outcome<Directory>> read_directory(Client& client, objecter::PoolId pool);

// Says whether it changed something. May run several times.
using DirectoryEditor = UniqueFunction<Outcome<bool>(Directory&)>;

// Changes it by read, edit, compare-and-swap.
Task<Outcome<void>> update_directory(Client& client, objecter::PoolId pool, DirectoryEditor edit);

// Puts `name` into the directory. kExists if another image has it.
Task<Outcome<void>> add_name(Client& client, objecter::PoolId pool, std::string name, ImageId id);

// Takes `name` out if it is that of `id`; success if it is not.
Task<Outcome<void>> drop_name(Client& client, objecter::PoolId pool, std::string name, ImageId id);

}  // namespace lunar::gateway
