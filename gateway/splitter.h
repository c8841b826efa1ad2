// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/result.h"

namespace lunar::gateway {

// How an image is cut into objects, all in bytes. stripe_unit divides object_size; both are
// multiples of kMinStripeUnit. Immutable for an image's life.
struct StripeLayout {
  static constexpr uint64_t kMinStripeUnit = 4096;
  static constexpr uint64_t kMaxObjectSize = 32u << 20;
  static constexpr uint32_t kMaxStripeCount = 256;

  uint64_t object_size = 4u << 20;
  uint64_t stripe_unit = 4u << 20;
  uint32_t stripe_count = 1;  // objects written side by side; 1 means one after the other

  // Objects an image of `image_size` bytes can have.
  uint64_t object_count(uint64_t image_size) const noexcept;
  friend bool operator==(const StripeLayout&, const StripeLayout&) = default;
};
// A sentence for a layout that breaks the rules above.
Outcome<void> validate(const StripeLayout& layout);

// One piece of a block extent, inside one object.
struct ObjectExtent {
  uint64_t object_no = 0;
  uint64_t offset = 0;         // in the object, bytes
  uint64_t length = 0;         // bytes, never 0
  uint64_t buffer_offset = 0;  // where this piece sits in the caller's buffer, bytes
};

// Yields the pieces of [offset, offset + length) in buffer order; no piece crosses a stripe unit.
// A value; allocates nothing. Pure.
class ExtentCursor {
 public:
  ExtentCursor() noexcept = default;
  // REQUIRES: offset + length does not overflow.
  ExtentCursor(const StripeLayout& layout, uint64_t offset, uint64_t length) noexcept
      : layout_(layout), offset_(offset), remaining_(length) {}
  bool done() const noexcept { return remaining_ == 0; }
  ObjectExtent next() noexcept;  // REQUIRES: !done()

 private:
  StripeLayout layout_;
  uint64_t offset_ = 0;
  uint64_t remaining_ = 0;
  uint64_t produced_ = 0;
};

// Why an IO was cut.
enum class SplitReason : uint8_t {
  kNone,
  kObjectBoundary,  // objects are not striped: the extent reaches into the next object
  kStripe,          // it reaches into the next stripe unit
  kFragment,        // of a one-sided delivery; told by the server
};

// What the split of an extent comes to, without walking it.
struct SplitSummary {
  uint32_t extents = 0;
  SplitReason reason = SplitReason::kNone;
};
SplitSummary summarize_split(const StripeLayout& layout, uint64_t offset, uint64_t length) noexcept;

}  // namespace lunar::gateway
