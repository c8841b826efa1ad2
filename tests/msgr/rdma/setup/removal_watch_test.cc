// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/removal_watch.h"

#include <gtest/gtest.h>

namespace lunar::msgr::rdma {
namespace {

using namespace std::string_view_literals;

TEST(RemovalWatchTest, KnowsTheRemovalOfAVerbsDevice) {
  EXPECT_EQ(removed_verbs_device("remove@/devices/virtual/infiniband_verbs/uverbs0\0ACTION=remove\0"
                                 "SUBSYSTEM=infiniband_verbs\0"sv),
            "uverbs0");
  EXPECT_EQ(
      removed_verbs_device("remove@/devices/pci0000:00/0000:00:05.0/infiniband_verbs/uverbs12"),
      "uverbs12");
}

TEST(RemovalWatchTest, OtherMessagesAreNone) {
  for (const std::string_view message :
       {"add@/devices/virtual/infiniband_verbs/uverbs0"sv, "remove@/devices/virtual/net/eth0"sv,
        "remove@/devices/virtual/infiniband_verbs/uverbs0/queues"sv,
        "change@/x\0remove@/infiniband_verbs/uverbs1"sv, ""sv, "remove@"sv, "libudev\0"sv}) {
    EXPECT_EQ(removed_verbs_device(message), "") << message;
  }
}

TEST(RemovalWatchTest, OpensWithoutRights) {
  auto center = EventCenter::create({});
  ASSERT_TRUE(center);
  const auto watch = RemovalWatch::open(**center, [](std::string_view) {});
  EXPECT_TRUE(watch) << watch.error().message();
}

}  // namespace
}  // namespace lunar::msgr::rdma
