// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <system_error>
#include <utility>

#include "msgr/event_center.h"
#include "msgr/net/link.h"
#include "msgr/wire/frame.h"

namespace lunar::msgr {

// What every transport does with what it is given to send. Loop-bound.

// Makes a frame ready for the queue: lengths, crcs. kTooLong above the limits.
std::error_code seal_outgoing(Frame& frame, const FrameLimits& limits, bool has_data_crc);
// Of a frame that is sealed, with its header.
std::size_t frame_bytes(const Frame& frame) noexcept;

// Runs `done` later on the loop, if there is one: the end of a call that ends as it is made.
inline void post_done(EventCenter& center, IoDone done, std::error_code result) {
  center.post_done(std::move(done), result);
}

}  // namespace lunar::msgr
