// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/delivery.h"

namespace lunar::gateway {

Delivery choose_delivery(const DeliveryPolicy& policy, uint64_t extent_bytes) noexcept {
  if (extent_bytes < policy.one_sided_threshold)
    return {kTracePathInline, kTracePathBelowThreshold};
  if (!policy.transport_one_sided) return {kTracePathInline, kTracePathLinkLacks};
  return {kTracePathOneSided, kTracePathEligible};
}

}  // namespace lunar::gateway
