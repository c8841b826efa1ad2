// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "tracing/trace_enums.h"

namespace lunar::gateway {

// How the payload of one extent travels, and why. The one place that decides it. Pure.
struct Delivery {
  LunarTracePath path = kTracePathInline;
  LunarTracePathReason reason = kTracePathLinkLacks;
};

struct DeliveryPolicy {
  uint64_t one_sided_threshold = 64u << 10;  // bytes; smaller extents go inline
  bool transport_one_sided = false;          // the stack can expose memory at all
};

Delivery choose_delivery(const DeliveryPolicy& policy, uint64_t extent_bytes) noexcept;

}  // namespace lunar::gateway
