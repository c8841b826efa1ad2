// SPDX-License-Identifier: LGPL-2.1-or-later
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include "msgr/rdma/device/device.h"

namespace lunar::msgr::rdma {
namespace {

Gid gid(const char* text) {
  Gid value{};
  EXPECT_EQ(inet_pton(AF_INET6, text, value.data()), 1) << text;
  return value;
}

Address address(const char* text) { return *Address::parse(text); }

// A RoCE card as drivers list it: each address as v1 and as v2.
DeviceListing roce_card(std::string name, const char* ipv4_mapped) {
  DeviceListing card;
  card.name = std::move(name);
  PortListing port;
  port.number = 1;
  port.is_active = true;
  port.is_ethernet = true;
  port.active_mtu = IBV_MTU_4096;
  port.state = "PORT_ACTIVE";
  card.ports = {port};
  int index = 0;
  for (const char* text : {"fe80::5054:ff:fe12:3456", ipv4_mapped}) {
    for (const GidType type : {GidType::kRoceV1, GidType::kRoceV2}) {
      card.gids.push_back({gid(text), index++, 1, type, "eth0"});
    }
  }
  return card;
}

class GidChoiceTest : public testing::Test {
 protected:
  std::vector<DeviceListing> devices_{roce_card("mlx5_0", "::ffff:10.0.0.1"),
                                      roce_card("mlx5_1", "::ffff:10.0.1.1")};
  RdmaOptions options_;

  Outcome<PortChoice> choose(const char* local) {
    return choose_port(devices_, options_, local == nullptr ? Address() : address(local));
  }
  std::string refusal(const char* local = nullptr) {
    const auto choice = choose(local);
    return choice ? "" : choice.error().message;
  }
};

TEST_F(GidChoiceTest, TakesRoceV2OfTheLocalAddressOnWhicheverDeviceHasIt) {
  const auto choice = choose("10.0.1.1:7000");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->device, "mlx5_1");
  EXPECT_EQ(choice->gid_index, 3);
  EXPECT_EQ(choice->gid, gid("::ffff:10.0.1.1"));
  EXPECT_EQ(choice->gid_type, GidType::kRoceV2);
  EXPECT_EQ(choice->mtu, IBV_MTU_4096);
  EXPECT_TRUE(choice->is_ethernet);
}

TEST_F(GidChoiceTest, TheAddressMayBeThatOfTheSecondPort) {
  DeviceListing& card = devices_[0];
  card.ports.push_back(card.ports[0]);
  card.ports[1].number = 2;
  card.gids.push_back({gid("::ffff:10.0.2.1"), 4, 2, GidType::kRoceV2, "eth1"});
  const auto choice = choose("10.0.2.1:7000");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->device, "mlx5_0");
  EXPECT_EQ(choice->port, 2);
  EXPECT_EQ(choice->gid_index, 4);
  EXPECT_EQ(choose("10.0.0.1:7000")->port, 1);
}

TEST_F(GidChoiceTest, AnIpv6AddressIsItsOwnGid) {
  const auto choice = choose("[fe80::5054:ff:fe12:3456]:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->gid_index, 1);
}

TEST_F(GidChoiceTest, WithoutAnAddressAnIpv4MappedV2GidOfTheFirstDevice) {
  for (const char* local : {static_cast<const char*>(nullptr), "0.0.0.0:0", "127.0.0.1:5"}) {
    const auto choice = choose(local);
    ASSERT_TRUE(choice);
    EXPECT_EQ(choice->device, "mlx5_0");
    EXPECT_EQ(choice->gid_index, 3);
  }
}

TEST_F(GidChoiceTest, TheMatchingAddressBeatsTheVersion) {
  devices_[1].gids.pop_back();  // only v1 for 10.0.1.1
  const auto choice = choose("10.0.1.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->device, "mlx5_1");
  EXPECT_EQ(choice->gid_type, GidType::kRoceV1);
}

TEST_F(GidChoiceTest, SkipsPortsThatAreDownAndDevicesThatDoNotOpen) {
  devices_[0].ports[0].is_active = false;
  devices_[0].ports[0].state = "PORT_DOWN";
  const auto choice = choose("10.0.0.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->device, "mlx5_1");
  devices_[1].problem = "cannot be opened";
  EXPECT_NE(refusal().find("port 1 of mlx5_0 is PORT_DOWN"), std::string::npos) << refusal();
  EXPECT_NE(refusal().find("mlx5_1: cannot be opened"), std::string::npos) << refusal();
}

TEST_F(GidChoiceTest, WhatOptionsNameIsTakenOrRefused) {
  options_.device_name = "mlx5_0";
  auto choice = choose("10.0.1.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->device, "mlx5_0");
  options_.gid_index = 0;
  choice = choose("10.0.1.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->gid_index, 0);
  EXPECT_EQ(choice->gid_type, GidType::kRoceV1);
  options_.gid_index = 9;
  EXPECT_NE(refusal().find("ms_async_rdma_gid_idx"), std::string::npos) << refusal();
  options_.gid_index = -1;
  options_.port_num = 2;
  EXPECT_NE(refusal().find("mlx5_0 has no port 2"), std::string::npos) << refusal();
  options_.device_name = "mlx5_9";
  EXPECT_NE(refusal().find("there are: mlx5_0, mlx5_1"), std::string::npos) << refusal();
}

TEST_F(GidChoiceTest, VersionAndGidOptionsBind) {
  options_.gid_type = GidType::kRoceV1;
  auto choice = choose("10.0.0.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->gid_index, 2);
  options_.gid_type.reset();
  options_.local_gid = gid("::ffff:10.0.1.1");
  choice = choose("10.0.0.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->device, "mlx5_1");
  options_.local_gid = gid("::ffff:10.9.9.9");
  EXPECT_NE(refusal().find("_local_gid"), std::string::npos) << refusal();
}

TEST_F(GidChoiceTest, IwarpIsRefusedWithTheReason) {
  devices_.resize(1);
  devices_[0].is_iwarp = true;
  EXPECT_NE(refusal().find("iWARP"), std::string::npos) << refusal();
}

TEST_F(GidChoiceTest, NoDeviceSaysHowToGetOne) {
  devices_.clear();
  EXPECT_NE(refusal().find("rdma link add"), std::string::npos) << refusal();
}

TEST_F(GidChoiceTest, AnInfiniBandPortNeedsNoAddress) {
  DeviceListing hca;
  hca.name = "ib0";
  PortListing port;
  port.number = 1;
  port.is_active = true;
  port.lid = 5;
  hca.ports = {port};
  hca.gids = {{gid("fe80::1"), 0, 1, GidType::kInfiniBand, ""}};
  devices_ = {hca};
  const auto choice = choose("10.0.0.1:1");
  ASSERT_TRUE(choice);
  EXPECT_EQ(choice->lid, 5);
  EXPECT_FALSE(choice->is_ethernet);
}

}  // namespace
}  // namespace lunar::msgr::rdma
