// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "tracing/trace_enums.h"

namespace lunar::gateway {

// How the payload of one extent is to travel, and why. The one place that decides it. Pure.
// What is decided here is a wish: when the op is sent, its link may yet know better.
struct Delivery {
  LunarTracePath path = kTracePathInline;
  LunarTracePathReason reason = kTracePathLinkLacks;
};

struct DeliveryPolicy {
  uint64_t one_sided_threshold = 128u << 10;  // bytes; smaller extents go inline
  uint32_t fragment_bytes = 512u << 10;       // of what the server moves at a time
  bool transport_one_sided = false;           // the stack can expose memory at all
};

struct ExtentPayload {
  uint64_t bytes = 0;
  bool is_plain = true;        // READ or WRITE; anything else needs its data at the server first
  bool is_registered = false;  // the memory is of front_end_buffers()
};

Delivery choose_delivery(const DeliveryPolicy& policy, const ExtentPayload& payload) noexcept;

}  // namespace lunar::gateway
