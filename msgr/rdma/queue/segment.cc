// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/queue/segment.h"

#include <algorithm>
#include <cstring>

#include "common/check.h"
#include "msgr/errors.h"

namespace lunar::msgr::rdma {

Result<Segment> decode_segment(ConstBytes received) {
  SegmentHeader header;
  if (received.size() < sizeof header) return failure(MsgrErrc::kBadFrame);
  std::memcpy(&header, received.data(), sizeof header);
  Segment out;
  out.type = static_cast<SegmentType>(header.type);
  out.flags = header.flags;
  out.granted = header.granted.value();
  out.returned = header.returned.value();
  out.payload = received.subspan(sizeof header);
  if ((header.flags & ~(kSegmentGiveBack | kSegmentAcknowledges)) != 0 ||
      out.payload.size() != header.length.value()) {
    return failure(MsgrErrc::kBadFrame);
  }
  switch (out.type) {
    case SegmentType::kFrames:
      if (out.payload.empty()) return failure(MsgrErrc::kBadFrame);
      return out;
    case SegmentType::kAcknowledge:
      if ((header.flags & kSegmentAcknowledges) == 0) return failure(MsgrErrc::kBadFrame);
      [[fallthrough]];
    case SegmentType::kCredits:
    case SegmentType::kBye:
      if (!out.payload.empty()) return failure(MsgrErrc::kBadFrame);
      return out;
  }
  return failure(MsgrErrc::kBadFrame);
}

SegmentHeader encode_header(const Segment& segment) noexcept {
  SegmentHeader header;
  header.granted = segment.granted;
  header.returned = segment.returned;
  header.type = static_cast<uint8_t>(segment.type);
  header.flags = segment.flags;
  header.length = static_cast<uint16_t>(segment.payload.size());
  return header;
}

SegmentBuilder::SegmentBuilder(const PackLimits& limits, Bytes bounce, uint32_t bounce_lkey,
                               const KeyFinder* keys) noexcept
    : limits_(limits), bounce_(bounce), bounce_lkey_(bounce_lkey), keys_(keys) {
  LUNAR_CHECK(limits.segment_bytes > sizeof(SegmentHeader) &&
                  limits.segment_bytes <= kMaxSegmentBytes &&
                  bounce.size() >= limits.segment_bytes && limits.max_elements > 0,
              "room for a segment");
  elements_.push_back({bounce_.data(), sizeof(SegmentHeader), bounce_lkey_});
}

std::size_t SegmentBuilder::add(const Frame& frame, std::size_t offset) {
  const std::size_t before = payload_bytes_;
  const auto take = [this, &offset](ConstBytes range, bool may_gather) {
    const std::size_t skipped = std::min(offset, range.size());
    offset -= skipped;
    range = range.subspan(skipped);
    return add_range(range, may_gather) == range.size();
  };
  bool fits = take({reinterpret_cast<const std::byte*>(&frame.header), sizeof frame.header}, false);
  fits = fits && take(frame.front, false);
  for (const ConstBytes element : frame.data) {
    if (!fits) break;
    fits = take(element, true);
  }
  return payload_bytes_ - before;
}

std::size_t SegmentBuilder::add_range(ConstBytes range, bool may_gather) {
  range = range.first(std::min(range.size(), room()));
  if (range.empty()) return 0;
  uint32_t lkey = 0;
  // The copies that may follow need an element of their own.
  if (may_gather && keys_ != nullptr && range.size() >= limits_.min_gather_bytes &&
      elements_.size() + 2 <= limits_.max_elements && keys_->find(range, &lkey)) {
    elements_.push_back({range.data(), static_cast<uint32_t>(range.size()), lkey});
    gathered_bytes_ += range.size();
  } else {
    copy(range);
  }
  payload_bytes_ += range.size();
  return range.size();
}

void SegmentBuilder::copy(ConstBytes range) {
  std::byte* const to = bounce_.data() + bounce_used_;
  std::memcpy(to, range.data(), range.size());
  bounce_used_ += range.size();
  GatherElement& last = elements_.back();
  if (last.data + last.length == to && last.lkey == bounce_lkey_) {
    last.length += static_cast<uint32_t>(range.size());
  } else {
    elements_.push_back({to, static_cast<uint32_t>(range.size()), bounce_lkey_});
  }
}

std::span<const GatherElement> SegmentBuilder::finish(const Segment& segment) noexcept {
  SegmentHeader header = encode_header(segment);
  header.length = static_cast<uint16_t>(payload_bytes_);
  std::memcpy(bounce_.data(), &header, sizeof header);
  return {elements_.data(), elements_.size()};
}

}  // namespace lunar::msgr::rdma
