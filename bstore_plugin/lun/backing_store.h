// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <string>

#include "common/result.h"
#include "gateway/image_header.h"

namespace lunar::bstore_plugin {

// The image that a LUN's backing store names: "POOL/IMAGE", "IMAGE" of `pool`, or, if it begins
// with '/', a LUN descriptor: a small file whose first line is "lunar:POOL/IMAGE". tgt-admin and
// Pacemaker's agent accept only what is there as a file. An Error is a sentence; it never shows
// what is in a file that is no LUN descriptor. Blocks for a file up to `timeout`.
Outcome<gateway::ImageSpec> parse_backing_store(const std::string& backing_store,
                                                const std::string& pool,
                                                std::chrono::milliseconds timeout);

}  // namespace lunar::bstore_plugin
