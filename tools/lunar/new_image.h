// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/unique_function.h"
#include "gateway/image_directory.h"
#include "tools/lunar/cluster_handle.h"

namespace lunar::tools {

// Makes an image that somebody can open only when `fill` has succeeded; otherwise, and after
// StopSignals, it is removed again. `text` is POOL/IMAGE. The error's sentence says whether
// anything is left.
Outcome<void> make_filled_image(ClusterHandle& cluster, const std::string& text,
                                gateway::CreateOptions options,
                                UniqueFunction<Outcome<void>(gateway::Image&)> fill);

// Makes what was written to it durable.
std::error_code flush_image(ClusterHandle& cluster, gateway::Image& image);

}  // namespace lunar::tools
