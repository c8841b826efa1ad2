// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/splitter.h"

#include <algorithm>

#include "common/check.h"

namespace lunar::gateway {
namespace {

Outcome<void> require(bool holds, const char* sentence) {
  if (holds) return {};
  return failure(std::errc::invalid_argument, sentence);
}

}  // namespace

uint64_t StripeLayout::object_count(uint64_t image_size) const noexcept {
  // Objects come in sets of stripe_count; the last set is counted whole only as far as it is used.
  const uint64_t set_bytes = object_size * stripe_count;
  const uint64_t full_sets = image_size / set_bytes;
  const uint64_t rest = image_size % set_bytes;
  const uint64_t units = (rest + stripe_unit - 1) / stripe_unit;
  return full_sets * stripe_count + std::min<uint64_t>(units, stripe_count);
}

Outcome<void> validate(const StripeLayout& layout) {
  const auto is_multiple = [](uint64_t value) {
    return value != 0 && value % StripeLayout::kMinStripeUnit == 0;
  };
  if (auto r = require(
          is_multiple(layout.object_size) && layout.object_size <= StripeLayout::kMaxObjectSize,
          "object size must be a multiple of 4096 bytes, at most 32 MiB");
      !r) {
    return r;
  }
  if (auto r =
          require(is_multiple(layout.stripe_unit) && layout.object_size % layout.stripe_unit == 0,
                  "stripe unit must be a multiple of 4096 bytes that divides the object size");
      !r) {
    return r;
  }
  return require(layout.stripe_count >= 1 && layout.stripe_count <= StripeLayout::kMaxStripeCount,
                 "stripe count must be between 1 and 256");
}

ObjectExtent ExtentCursor::next() noexcept {
  LUNAR_CHECK(remaining_ != 0, "ExtentCursor::next past the end");
  const uint64_t unit_no = offset_ / layout_.stripe_unit;
  const uint64_t in_unit = offset_ % layout_.stripe_unit;
  const uint64_t units_per_object = layout_.object_size / layout_.stripe_unit;
  const uint64_t stripe_no = unit_no / layout_.stripe_count;
  const uint64_t set_no = stripe_no / units_per_object;

  ObjectExtent extent;
  extent.object_no = set_no * layout_.stripe_count + unit_no % layout_.stripe_count;
  extent.offset = stripe_no % units_per_object * layout_.stripe_unit + in_unit;
  extent.length = std::min(remaining_, layout_.stripe_unit - in_unit);
  extent.buffer_offset = produced_;

  offset_ += extent.length;
  remaining_ -= extent.length;
  produced_ += extent.length;
  return extent;
}

SplitSummary summarize_split(const StripeLayout& layout, uint64_t offset,
                             uint64_t length) noexcept {
  if (length == 0) return {};
  const uint64_t first = offset / layout.stripe_unit;
  const uint64_t last = (offset + length - 1) / layout.stripe_unit;
  SplitSummary summary;
  summary.extents = static_cast<uint32_t>(last - first + 1);
  if (summary.extents > 1) {
    summary.reason = layout.stripe_unit == layout.object_size && layout.stripe_count == 1
                         ? SplitReason::kObjectBoundary
                         : SplitReason::kStripe;
  }
  return summary;
}

}  // namespace lunar::gateway
