// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <memory>

#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image.h"
#include "gateway/image_header.h"
#include "gateway/open_options.h"

namespace lunar::gateway {

// Opens an image as Image::open() does, for a client that may have no map yet: waits up to
// `timeout` for one first. The timeout is that of the map alone; opening has those of
// Image::open(). Loop-bound to the client's center; the client outlives the call. Arguments are
// copied. `done` runs exactly once, later than the call, and gets a share of the image. Whoever
// asked may have given up meanwhile: an image that `done` does not keep gives up its lock by
// itself. Errors are sentences: those of Objecter::wait_for_map(), kUnreachable and kShutdown among
// them, and those of Image::open(), which name the image. Client::shutdown() ends it early.
// For a caller that wants one image and has no map yet: it need not wait for the map by itself.
void open_image_when_mapped(Client& client, const ImageSpec& spec, const OpenOptions& options,
                            std::chrono::nanoseconds timeout,
                            UniqueFunction<void(Outcome<std::shared_ptr<Image>>)> done);

}  // namespace lunar::gateway
