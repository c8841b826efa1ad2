// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/io/delivery.h"

namespace lunar::gateway {

DeliveryProposal propose_delivery(const DeliveryPolicy& policy,
                                  const ExtentPayload& payload) noexcept {
  DeliveryProposal proposal;
  if (!payload.is_plain) {
    proposal.reason = DeliveryReason::kOpKind;
  } else if (payload.bytes < policy.one_sided_threshold) {
    proposal.reason = DeliveryReason::kBelowThreshold;
  } else if (!policy.can_expose) {
    proposal.reason = DeliveryReason::kLinkLacks;
  } else if (!payload.is_registered) {
    proposal.reason = DeliveryReason::kNotRegistered;
  } else {
    proposal.delivery = Delivery::kOneSided;
    proposal.reason = DeliveryReason::kEligible;
    proposal.fragment_bytes = policy.fragment_bytes;
  }
  return proposal;
}

}  // namespace lunar::gateway
