// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/delivery.h"

#include <gtest/gtest.h>

namespace lunar::gateway {
namespace {

constexpr DeliveryPolicy kRdma{.one_sided_threshold = 65536, .transport_one_sided = true};

void expect_inline(const Delivery& delivery, LunarTracePathReason reason) {
  EXPECT_EQ(delivery.path, kTracePathInline);
  EXPECT_EQ(delivery.reason, reason);
}

TEST(DeliveryTest, LargeRegisteredPayloadIsMovedByTheServer) {
  const Delivery delivery = choose_delivery(kRdma, {.bytes = 65536, .is_registered = true});
  EXPECT_EQ(delivery.path, kTracePathOneSided);
  EXPECT_EQ(delivery.reason, kTracePathEligible);
}

TEST(DeliveryTest, SmallExtentsGoInlineWhateverTheTransportCan) {
  expect_inline(choose_delivery(kRdma, {.bytes = 65535, .is_registered = true}),
                kTracePathBelowThreshold);
}

TEST(DeliveryTest, ATransportWithoutRemoteAccessIsTheReasonForLargeOnes) {
  expect_inline(
      choose_delivery({.one_sided_threshold = 65536}, {.bytes = 65536, .is_registered = true}),
      kTracePathLinkLacks);
}

TEST(DeliveryTest, MemoryThatNobodyRegisteredGoesInline) {
  expect_inline(choose_delivery(kRdma, {.bytes = 1u << 20}), kTracePathNotRegistered);
}

TEST(DeliveryTest, OnlyReadsAndWritesMoveBySides) {
  expect_inline(
      choose_delivery(kRdma, {.bytes = 1u << 20, .is_plain = false, .is_registered = true}),
      kTracePathOpKind);
}

}  // namespace
}  // namespace lunar::gateway
