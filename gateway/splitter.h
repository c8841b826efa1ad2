// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/result.h"

namespace lunar::gateway {

// How the bytes of an image lie on its objects, as Ceph's Striper has it: the image is cut into
// stripe units; stripe_count objects form a set, which is filled unit by unit, each object in turn;
// docs/image.md has the formula. A value, the same for an image's life.
struct StripeLayout {
  static constexpr uint64_t kMinStripeUnit = 4096;
  static constexpr uint64_t kMaxObjectSize = 32u << 20;
  static constexpr uint32_t kMaxStripeCount = 256;

  uint64_t object_size = 4u << 20;  // bytes, a multiple of stripe_unit, at most kMaxObjectSize
  uint64_t stripe_unit = 4u << 20;  // bytes, a multiple of kMinStripeUnit
  uint32_t stripe_count = 1;        // objects written side by side; 1 means one after the other

  // How many objects an image of `image_size` bytes can have: their numbers are below it.
  uint64_t object_count(uint64_t image_size) const noexcept;
  friend bool operator==(const StripeLayout&, const StripeLayout&) = default;
};
// invalid_argument, with a sentence, for a layout that breaks the rules above.
Outcome<void> validate(const StripeLayout& layout);

// What of an image's extent lies side by side in one object. A value.
struct ObjectExtent {
  uint64_t object_no = 0;      // of the image's data objects, from 0
  uint64_t offset = 0;         // in the object, bytes
  uint64_t length = 0;         // bytes, never 0
  uint64_t buffer_offset = 0;  // where its bytes are in the caller's buffer
};

// Walks the object extents of [offset, offset + length) in buffer order; none crosses a stripe
// unit, and together they are the whole. A value; allocates nothing. Pure.
class ExtentCursor {
 public:
  ExtentCursor() noexcept = default;
  // Both in bytes. REQUIRES: the layout is valid; offset + length does not overflow.
  ExtentCursor(const StripeLayout& layout, uint64_t offset, uint64_t length) noexcept
      : layout_(layout), offset_(offset), remaining_(length) {}
  bool is_at_end() const noexcept { return remaining_ == 0; }
  // The next one, which it then leaves behind.
  ObjectExtent next() noexcept;  // REQUIRES: !is_at_end()

 private:
  StripeLayout layout_;
  uint64_t offset_ = 0;     // of the next extent, in the image
  uint64_t remaining_ = 0;  // bytes from there on
  uint64_t produced_ = 0;   // bytes before it: where it is in the buffer
};

// Why an IO was cut into more than one extent, for its trace.
enum class SplitReason : uint8_t {
  kNone,
  kObjectBoundary,  // objects are not striped: the extent reaches into the next object
  kStripe,          // it reaches into the next stripe unit
  kFragment,        // of a one-sided delivery; told by the server
};

// How many object extents an extent of the image has, and why, without walking it. Pure.
struct SplitSummary {
  uint32_t extents = 0;  // 0 for length 0
  SplitReason reason = SplitReason::kNone;
};
SplitSummary summarize_split(const StripeLayout& layout, uint64_t offset, uint64_t length) noexcept;

}  // namespace lunar::gateway
