// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/net/outgoing.h"

#include "msgr/errors.h"

namespace lunar::msgr {

std::error_code seal_outgoing(Frame& frame, const FrameLimits& limits, bool has_data_crc) {
  std::size_t data_bytes = 0;
  for (const ConstBytes span : frame.data) data_bytes += span.size();
  if (frame.front.size() > limits.max_front_bytes || data_bytes > limits.max_data_bytes) {
    return MsgrErrc::kTooLong;
  }
  seal_frame(frame, has_data_crc);
  return {};
}

std::size_t frame_bytes(const Frame& frame) noexcept {
  return sizeof frame.header + frame.header.front_length.value() + frame.header.data_length.value();
}

}  // namespace lunar::msgr
