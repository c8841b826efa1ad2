// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>

#include "common/inline_function.h"
#include "common/result.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// The object that maps image names to ids in a pool: {"format": 1, "images": {"NAME": "16 hex
// digits"}}. Free functions, loop-bound to the client's center; every `done` runs once, later.
//
// Order of changes, so that an interruption leaves nothing that lies: create writes the header and
// then the name; remove marks the header, deletes data, header, and last the name.
using Directory = std::map<std::string, ImageId>;

void read_directory(Client& client, objecter::PoolId pool,
                    InlineFunction<void(Outcome<Directory>)> done);

// Changes it by read, edit, compare-and-swap. `edit` says whether it changed something and may run
// several times.
void update_directory(Client& client, objecter::PoolId pool,
                      InlineFunction<Outcome<bool>(Directory&)> edit,
                      InlineFunction<void(Outcome<void>)> done);

}  // namespace lunar::gateway
