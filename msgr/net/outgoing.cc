// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/outgoing.h"

#include <memory>
#include <utility>

#include "msgr/errors.h"

namespace lunar::msgr {

std::error_code seal_outgoing(Frame& frame, const FrameLimits& limits, bool with_data_crc) {
  std::size_t data_bytes = 0;
  for (const ConstBytes part : frame.data) data_bytes += part.size();
  if (frame.front.size() > limits.max_front_bytes || data_bytes > limits.max_data_bytes) {
    return MsgrErrc::kTooLong;
  }
  seal_frame(frame, with_data_crc);
  return {};
}

std::size_t frame_bytes(const Frame& frame) noexcept {
  return sizeof frame.header + frame.header.front_length.value() + frame.header.data_length.value();
}

void post_done(EventCenter& center, IoDone done, std::error_code result) {
  if (!done) return;
  auto boxed = std::make_unique<IoDone>(std::move(done));
  center.post([boxed = std::move(boxed), result] { (*boxed)(result); });
}

}  // namespace lunar::msgr
