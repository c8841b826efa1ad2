// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <utility>
#include <vector>

#include "msgr/messenger.h"
#include "tools/perf_msgr/job.h"

namespace lunar::perf_msgr {

// A frame of the measurement. `data` is borrowed until it is sent.
inline msgr::Frame make_frame(Type type, uint64_t tid, std::vector<std::byte> front,
                              ConstBytes data = {}) {
  msgr::Frame frame;
  frame.header.tag = static_cast<uint8_t>(msgr::FrameTag::kMessage);
  frame.header.message_type = static_cast<uint16_t>(type);
  frame.header.tid = tid;
  frame.front = std::move(front);
  if (!data.empty()) frame.data.push_back(data);
  return frame;
}

inline Type type_of(const msgr::FrameHeader& header) noexcept {
  return static_cast<Type>(header.message_type.value());
}

}  // namespace lunar::perf_msgr
