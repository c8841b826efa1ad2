// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/wire/frame.h"

#include <cstddef>

#include "common/check.h"
#include "common/crc32c.h"
#include "msgr/errors.h"

namespace lunar::msgr {
namespace {

bool is_known_tag(uint8_t tag) noexcept {
  switch (static_cast<FrameTag>(tag)) {
    case FrameTag::kHello:
    case FrameTag::kAuthChallenge:
    case FrameTag::kAuthProof:
    case FrameTag::kAuthDone:
    case FrameTag::kSessionNew:
    case FrameTag::kSessionReconnect:
    case FrameTag::kSessionReady:
    case FrameTag::kSessionReset:
    case FrameTag::kSessionRetry:
    case FrameTag::kHandshakeError:
    case FrameTag::kRdmaOffer:
    case FrameTag::kRdmaAnswer:
    case FrameTag::kRdmaProbe:
    case FrameTag::kMessage:
    case FrameTag::kVoid:
    case FrameTag::kAck:
    case FrameTag::kKeepalive:
    case FrameTag::kKeepaliveAck:
    case FrameTag::kClose:
      return true;
  }
  return false;
}

uint32_t header_crc_of(const FrameHeader& header, ConstBytes front) noexcept {
  const ConstBytes covered(reinterpret_cast<const std::byte*>(&header),
                           offsetof(FrameHeader, header_crc));
  return crc32c(crc32c(0, covered), front);
}

}  // namespace

void seal_frame(Frame& frame, bool has_data_crc) {
  std::size_t data_bytes = 0;
  for (const ConstBytes span : frame.data) data_bytes += span.size();
  LUNAR_CHECK(frame.front.size() <= UINT32_MAX && data_bytes <= UINT32_MAX, "a frame's length");
  FrameHeader& header = frame.header;
  header.magic = kFrameMagic;
  header.flags = 0;
  header.front_length = static_cast<uint32_t>(frame.front.size());
  header.data_length = static_cast<uint32_t>(data_bytes);
  header.data_crc = 0;
  if (has_data_crc && data_bytes > 0) {
    uint32_t crc = 0;
    for (const ConstBytes span : frame.data) crc = crc32c(crc, span);
    header.flags = kFlagDataCrc;
    header.data_crc = crc;
  }
  header.header_crc = header_crc_of(header, frame.front);
}

std::error_code check_frame_header(const FrameHeader& header, const FrameLimits& limits) {
  if (header.magic.value() != kFrameMagic) return MsgrErrc::kBadMagic;
  if (!is_known_tag(header.tag)) return MsgrErrc::kBadTag;
  if ((header.flags & ~kFlagDataCrc) != 0) return MsgrErrc::kBadFrame;
  if (header.reserved0 != 0 || header.reserved1.value() != 0) return MsgrErrc::kBadFrame;
  if ((header.flags & kFlagDataCrc) == 0 && header.data_crc.value() != 0)
    return MsgrErrc::kBadFrame;
  if (header.front_length.value() > limits.max_front_bytes) return MsgrErrc::kTooLong;
  if (header.data_length.value() > limits.max_data_bytes) return MsgrErrc::kTooLong;
  return {};
}

std::error_code check_header_crc(const FrameHeader& header, ConstBytes front) {
  if (header.header_crc.value() != header_crc_of(header, front)) return MsgrErrc::kBadCrc;
  return {};
}

std::error_code check_data_crc(const FrameHeader& header, ConstBytes data) {
  if ((header.flags & kFlagDataCrc) == 0) return {};
  if (header.data_crc.value() != crc32c(0, data)) return MsgrErrc::kBadCrc;
  return {};
}

}  // namespace lunar::msgr
