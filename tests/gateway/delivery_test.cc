// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/delivery.h"

#include <gtest/gtest.h>

namespace lunar::gateway {
namespace {

TEST(DeliveryTest, SmallExtentsGoInlineWhateverTheTransportCan) {
  const Delivery delivery =
      choose_delivery({.one_sided_threshold = 65536, .transport_one_sided = true}, 65535);
  EXPECT_EQ(delivery.path, kTracePathInline);
  EXPECT_EQ(delivery.reason, kTracePathBelowThreshold);
}

TEST(DeliveryTest, ATransportWithoutRemoteAccessIsTheReasonForLargeOnes) {
  const Delivery delivery = choose_delivery({.one_sided_threshold = 65536}, 65536);
  EXPECT_EQ(delivery.path, kTracePathInline);
  EXPECT_EQ(delivery.reason, kTracePathLinkLacks);
}

}  // namespace
}  // namespace lunar::gateway
