// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/wire/frame_decoder.h"

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/copy_bytes.h"
#include "common/crc32c.h"
#include "msgr/errors.h"

namespace lunar::msgr {
namespace {

// Moves what fits from `in` to the part of `out` that is still empty. True once `out` is full.
bool fill(Bytes out, std::size_t& have, ConstBytes& in) noexcept {
  const std::size_t take = std::min(out.size() - have, in.size());
  copy_bytes(out.data() + have, in.data(), take);
  have += take;
  in = in.subspan(take);
  return have == out.size();
}

}  // namespace

FrameDecoder::DecodeEvent FrameDecoder::feed(ConstBytes& in) {
  for (;;) {
    switch (stage_) {
      case Stage::kHeader: {
        const Bytes header(reinterpret_cast<std::byte*>(&header_), sizeof header_);
        if (!fill(header, have_, in)) return DecodeEvent::kNeedBytes;
        if (header_done() == DecodeEvent::kError) return DecodeEvent::kError;
        break;
      }
      case Stage::kFront: {
        while (fill(front_, have_, in) && front_.size() < header_.front_length.value())
          grow_front();
        if (have_ < header_.front_length.value()) return DecodeEvent::kNeedBytes;
        const DecodeEvent event = front_done();
        if (event != DecodeEvent::kNeedBytes) return event;
        break;
      }
      case Stage::kPayload: {
        const Bytes target = payload_target();
        std::size_t have = 0;
        fill(target, have, in);
        copied_ += have;
        return payload_received(have);
      }
      case Stage::kSkip: {
        const std::size_t take =
            std::min<std::size_t>(header_.data_length.value() - have_, in.size());
        have_ += take;
        in = in.subspan(take);
        if (have_ < header_.data_length.value()) return DecodeEvent::kNeedBytes;
        start_over();
        break;
      }
      case Stage::kError:
        return DecodeEvent::kError;
      case Stage::kPlacement:
      case Stage::kFrame:
        LUNAR_CHECK(false, "feed() before the last event was dealt with");
    }
  }
}

FrameDecoder::DecodeEvent FrameDecoder::fail_with(std::error_code error) {
  stage_ = Stage::kError;
  error_ = error;
  buffer_ = {};
  data_ = {};
  return DecodeEvent::kError;
}

FrameDecoder::DecodeEvent FrameDecoder::header_done() {
  if (const auto error = check_frame_header(header_, limits_)) return fail_with(error);
  if (header_.front_length.value() > max_front_) return fail_with(MsgrErrc::kTooLong);
  have_ = 0;
  grow_front();
  stage_ = Stage::kFront;
  return DecodeEvent::kNeedBytes;
}

// A header costs its sender 64 bytes, and must not cost us the length that it names.
void FrameDecoder::grow_front() {
  constexpr std::size_t kFirst = 4096;
  front_.resize(std::min<std::size_t>(header_.front_length.value(), std::max(kFirst, 2 * have_)));
}

FrameDecoder::DecodeEvent FrameDecoder::front_done() {
  if (const auto error = check_header_crc(header_, front_)) return fail_with(error);
  have_ = 0;
  data_crc_ = 0;
  if (header_.data_length.value() == 0) {
    if (header_.data_crc.value() != 0) return fail_with(MsgrErrc::kBadCrc);
    stage_ = Stage::kFrame;
    return DecodeEvent::kFrame;
  }
  stage_ = Stage::kPlacement;
  return DecodeEvent::kPayload;
}

void FrameDecoder::place_payload(Bytes target) {
  LUNAR_CHECK(awaits_placement() && target.size() == header_.data_length.value(),
              "a payload goes to memory of exactly its length");
  data_ = target;
  stage_ = Stage::kPayload;
}

void FrameDecoder::place_payload(RegisteredBuffer buffer) {
  place_payload(buffer.bytes());
  buffer_ = std::move(buffer);
}

Bytes FrameDecoder::payload_target() const noexcept {
  return stage_ == Stage::kPayload ? data_.subspan(have_) : Bytes();
}

FrameDecoder::DecodeEvent FrameDecoder::payload_received(std::size_t length) {
  const Bytes target = payload_target();
  LUNAR_CHECK(length <= target.size(), "more payload than there is room for");
  if ((header_.flags & kFlagDataCrc) != 0) data_crc_ = crc32c(data_crc_, target.first(length));
  have_ += length;
  if (have_ < data_.size()) return DecodeEvent::kNeedBytes;
  if (data_crc_ != header_.data_crc.value()) return fail_with(MsgrErrc::kBadCrc);
  stage_ = Stage::kFrame;
  return DecodeEvent::kFrame;
}

void FrameDecoder::skip_payload() {
  LUNAR_CHECK(stage_ == Stage::kPlacement || stage_ == Stage::kPayload, "no payload to skip");
  stage_ = Stage::kSkip;  // have_ goes on counting
  data_ = {};
  buffer_ = {};
}

ReceivedFrame FrameDecoder::take_frame() {
  LUNAR_CHECK(stage_ == Stage::kFrame, "there is no frame to take");
  ReceivedFrame frame;
  frame.header = header_;
  frame.front = std::move(front_);
  frame.data = data_;
  frame.buffer = std::move(buffer_);
  frame.copied_bytes = copied_;
  start_over();
  return frame;
}

void FrameDecoder::start_over() noexcept {
  stage_ = Stage::kHeader;
  have_ = 0;
  copied_ = 0;
  front_.clear();
  data_ = {};
}

}  // namespace lunar::msgr
