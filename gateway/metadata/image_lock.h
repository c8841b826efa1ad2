// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "gateway/open_options.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::gateway {

// kBusy for an image that is not whole, and for one that is if it is opened to be imported.
Outcome<void> require_openable(const ImageHeader& header, const OpenOptions& options);

// Whose registrations stand against `mine`: those of other gateways, if either side excludes
// others. An earlier start of the same gateway does not: every server refuses its ops from the
// first that `mine` sends there. It stays registered, as some servers may never see one. Pure.
std::vector<Registration> conflicts_of(const ImageHeader& header, const Registration& mine);

// Puts `mine` into the header, which takes the image's lock: a compare-and-swap decides who has it.
// Whoever holds it and is dead is fenced at every server of the pool, and struck. Errors are
// sentences: kBusy names who has it, or says that it is not whole; kFenced: a newer start of
// this gateway has it. After other errors it may be in the header. A task, as those of
// metadata_object.h.
Task<Outcome<void>> take_lock(Client& client, objecter::PoolInfo pool, ImageId id,
                              Registration mine, OpenOptions options);

// Fences the earlier starts of the gateway of `mine` that the header names at every server of the
// pool, and strikes them. Until that has succeeded another gateway has to fence them before it may
// write. Errors as those of fence_start().
Task<Outcome<void>> strike_earlier_starts(Client& client, objecter::PoolInfo pool,
                                          ImageHeader header, Registration mine);

}  // namespace lunar::gateway
