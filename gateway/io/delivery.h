// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "objecter/delivery.h"

namespace lunar::gateway {

using objecter::Delivery;
using objecter::DeliveryProposal;
using objecter::DeliveryReason;

// What the gateway knows when it proposes a delivery. A value.
struct DeliveryPolicy {
  uint64_t one_sided_threshold = 128u << 10;  // bytes; smaller extents go inline
  uint32_t fragment_bytes = 512u << 10;       // of one READ or WRITE by the server
  bool can_expose = false;                    // the network stack can expose memory at all
};

// The payload of one extent. A value.
struct ExtentPayload {
  uint64_t bytes = 0;
  bool is_plain = true;        // READ or WRITE; anything else needs its data at the server first
  bool is_registered = false;  // the memory is of front_end_buffers()
};

// How the payload of an extent should travel, and why: the one place where the gateway decides it.
// The slice is left for the caller to fill in. What is proposed may still be declined when the op
// is encoded for its link. Pure.
DeliveryProposal propose_delivery(const DeliveryPolicy& policy,
                                  const ExtentPayload& payload) noexcept;

}  // namespace lunar::gateway
