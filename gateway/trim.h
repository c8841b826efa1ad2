// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/result.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// Frees every byte of the image in [from, to): whole objects are deleted, the rest is zeroed; then
// flushes. At most a few dozen ops are in flight. Loop-bound; `done` runs once, later.
void trim_image(Client& client, objecter::PoolId pool, const ImageHeader& header, uint64_t from,
                uint64_t to, OnProgress on_progress, InlineFunction<void(std::error_code)> done);

}  // namespace lunar::gateway
