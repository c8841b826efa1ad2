// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/delivery.h"

namespace lunar::gateway {

Delivery choose_delivery(const DeliveryPolicy& policy, const ExtentPayload& payload) noexcept {
  const auto inline_for = [](LunarTracePathReason reason) {
    return Delivery{kTracePathInline, reason};
  };
  if (!payload.is_plain) return inline_for(kTracePathOpKind);
  if (payload.bytes < policy.one_sided_threshold) return inline_for(kTracePathBelowThreshold);
  if (!policy.transport_one_sided) return inline_for(kTracePathLinkLacks);
  if (!payload.is_registered) return inline_for(kTracePathNotRegistered);
  return {kTracePathOneSided, kTracePathEligible};
}

}  // namespace lunar::gateway
