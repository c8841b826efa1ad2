// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/io/delivery.h"

#include <gtest/gtest.h>

namespace lunar::gateway {
namespace {

constexpr DeliveryPolicy kRdma{.one_sided_threshold = 65536, .can_expose = true};

void expect_inline(const DeliveryProposal& proposal, DeliveryReason reason) {
  EXPECT_EQ(proposal.delivery, Delivery::kInline);
  EXPECT_EQ(proposal.reason, reason);
}

TEST(DeliveryTest, LargeRegisteredPayloadIsMovedByTheServer) {
  const DeliveryProposal proposal =
      propose_delivery(kRdma, {.bytes = 65536, .is_registered = true});
  EXPECT_EQ(proposal.delivery, Delivery::kOneSided);
  EXPECT_EQ(proposal.reason, DeliveryReason::kEligible);
}

TEST(DeliveryTest, SmallExtentsGoInlineWhateverTheTransportCan) {
  expect_inline(propose_delivery(kRdma, {.bytes = 65535, .is_registered = true}),
                DeliveryReason::kBelowThreshold);
}

TEST(DeliveryTest, ATransportWithoutRemoteAccessIsTheReasonForLargeOnes) {
  expect_inline(
      propose_delivery({.one_sided_threshold = 65536}, {.bytes = 65536, .is_registered = true}),
      DeliveryReason::kLinkLacks);
}

TEST(DeliveryTest, MemoryThatNobodyRegisteredGoesInline) {
  expect_inline(propose_delivery(kRdma, {.bytes = 1u << 20}), DeliveryReason::kNotRegistered);
}

TEST(DeliveryTest, OnlyReadsAndWritesMoveBySides) {
  expect_inline(
      propose_delivery(kRdma, {.bytes = 1u << 20, .is_plain = false, .is_registered = true}),
      DeliveryReason::kOpKind);
}

}  // namespace
}  // namespace lunar::gateway
