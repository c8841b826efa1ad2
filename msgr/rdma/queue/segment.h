// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <boost/container/small_vector.hpp>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/wire/frame.h"

namespace lunar::msgr::rdma {

// What one SEND begins with. Layout: docs/protocol.md §9.
struct SegmentHeader {
  le16 granted;   // credits that the receiver of this segment gains
  le16 returned;  // credits that its sender gives back
  uint8_t type;   // SegmentType
  uint8_t flags;  // SegmentFlag bits; unknown bits are an error
  le16 length;    // of the bytes that follow
};
static_assert(sizeof(SegmentHeader) == 8);

enum class SegmentType : uint8_t {
  kFrames = 1,       // bytes of the stream of frames; the only type that costs a credit
  kCredits = 2,      // grants or returns credits; one unacknowledged at a time
  kAcknowledge = 3,  // answers kCredits when nothing else would
  kBye = 4,          // the last one: the sender closes
};
enum SegmentFlag : uint8_t {
  kSegmentGiveBack = 1,     // please return the credits you do not need
  kSegmentAcknowledges = 2  // the last kCredits has come
};
// Receive buffers that a peer may use without a credit: one of each type above but kFrames.
inline constexpr uint32_t kControlBuffers = 3;
inline constexpr uint32_t kMaxSegmentBytes = sizeof(SegmentHeader) + 0xffff;
inline constexpr uint32_t kMinSegmentBytes = 512;

struct Segment {
  SegmentType type = SegmentType::kFrames;
  uint8_t flags = 0;
  uint16_t granted = 0;
  uint16_t returned = 0;
  ConstBytes payload;  // of kFrames; a view into what was received
};
// kBadFrame for anything that no encoder makes.
Result<Segment> decode_segment(ConstBytes received);
SegmentHeader encode_header(const Segment& segment) noexcept;  // length from payload

// One element of a SEND's gather list.
struct GatherElement {
  const std::byte* data = nullptr;
  uint32_t length = 0;
  uint32_t lkey = 0;
};

struct PackLimits {
  uint32_t segment_bytes = 0;  // header included
  uint32_t max_elements = 1;   // of a gather list
  // Shorter ranges are copied although they are registered: an SGE costs more.
  uint32_t min_gather_bytes = 256;
};

// Finds the lkey of payload memory; false if the range is not registered.
struct KeyFinder {
  virtual bool find(ConstBytes range, uint32_t* lkey) const noexcept = 0;

 protected:
  ~KeyFinder() = default;
};

// Packs frames into one segment: registered payload is gathered where it lies, all else is copied
// into `bounce` behind the header. Not thread-safe. Borrows everything until the SEND completed.
class SegmentBuilder {
 public:
  // `keys` null: everything is copied (an inline SEND). REQUIRES: bounce.size() >= segment_bytes.
  SegmentBuilder(const PackLimits& limits, Bytes bounce, uint32_t bounce_lkey,
                 const KeyFinder* keys) noexcept;

  // Takes the frame's bytes from `offset` on, as many as fit. Returns how many.
  std::size_t add(const Frame& frame, std::size_t offset);
  bool is_full() const noexcept { return room() == 0; }
  std::size_t payload_bytes() const noexcept { return payload_bytes_; }
  std::size_t gathered_bytes() const noexcept { return gathered_bytes_; }
  // Writes the header; `segment` gives all but payload. The elements live as long as this.
  std::span<const GatherElement> finish(const Segment& segment) noexcept;

 private:
  std::size_t room() const noexcept {
    return limits_.segment_bytes - sizeof(SegmentHeader) - payload_bytes_;
  }
  std::size_t add_range(ConstBytes range, bool may_gather);
  void copy(ConstBytes range);

  const PackLimits limits_;
  const Bytes bounce_;
  const uint32_t bounce_lkey_;
  const KeyFinder* const keys_;
  std::size_t bounce_used_ = sizeof(SegmentHeader);
  std::size_t payload_bytes_ = 0;
  std::size_t gathered_bytes_ = 0;
  boost::container::small_vector<GatherElement, 8> elements_;
};

}  // namespace lunar::msgr::rdma
