// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/endpoint_info.h"

#include <gtest/gtest.h>

#include "msgr/errors.h"

namespace lunar::msgr::rdma {
namespace {

CmTicket ticket() {
  CmTicket made{};
  for (std::size_t i = 0; i < made.size(); ++i) made[i] = static_cast<std::byte>(i);
  return made;
}

EndpointInfo sample() {
  EndpointInfo info;
  for (std::size_t i = 0; i < info.gid.size(); ++i) info.gid[i] = static_cast<uint8_t>(i + 1);
  info.lid = 0x1234;
  info.qp_num = 0xfedcba;
  info.psn = 0xabcdef;
  info.mtu = IBV_MTU_4096;
  info.segment_bytes = 8192;
  info.credits = 64;
  info.read_depth = 16;
  info.read_initiate = 8;
  info.one_sided = true;
  return info;
}

void expect_owner(const EndpointInfo& info) {
  EXPECT_EQ(info.segment_bytes, 8192u);
  EXPECT_EQ(info.credits, 64);
  EXPECT_EQ(info.read_depth, 16);
  EXPECT_EQ(info.read_initiate, 8);
  EXPECT_TRUE(info.one_sided);
}

TEST(EndpointInfoTest, ComesBackAsItWas) {
  const auto bytes = encode(sample());
  EXPECT_EQ(bytes.size(), 38u);
  const auto info = decode_endpoint_info(bytes);
  ASSERT_TRUE(info);
  EXPECT_EQ(info->gid, sample().gid);
  EXPECT_EQ(info->lid, 0x1234);
  EXPECT_EQ(info->qp_num, 0xfedcbau);
  EXPECT_EQ(info->psn, 0xabcdefu);
  EXPECT_EQ(info->mtu, IBV_MTU_4096);
  expect_owner(*info);
}

TEST(EndpointInfoTest, EveryOtherLengthIsRefused) {
  auto bytes = encode(sample());
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_endpoint_info(ConstBytes(bytes).first(length))) << length;
  }
  bytes.push_back(std::byte{0});
  EXPECT_EQ(decode_endpoint_info(bytes).error(), MsgrErrc::kBadFrame);
}

TEST(EndpointInfoTest, ValuesOutOfRangeAreRefused) {
  const auto refused = [](auto&& change) {
    EndpointInfo info = sample();
    change(info);
    return !decode_endpoint_info(encode(info));
  };
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.qp_num = 0; }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.qp_num = 0x1000000; }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.psn = 0x1000000; }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.mtu = static_cast<ibv_mtu>(0); }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.mtu = static_cast<ibv_mtu>(6); }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.segment_bytes = 511; }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.segment_bytes = 65544; }));
  EXPECT_TRUE(refused([](EndpointInfo& i) { i.credits = 0; }));
}

TEST(EndpointInfoTest, AnotherVersionIsRefused) {
  auto bytes = encode(sample());
  bytes[0] = std::byte{2};
  EXPECT_FALSE(decode_endpoint_info(bytes));
}

TEST(EndpointInfoTest, PrivateDataFitsTheCmAndSurvivesItsPadding) {
  auto bytes = encode_private_data({sample(), ticket()});
  EXPECT_LE(bytes.size(), 56u);
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_private_data(ConstBytes(bytes).first(length))) << length;
  }
  bytes.resize(196);
  const auto data = decode_private_data(bytes);
  ASSERT_TRUE(data);
  expect_owner(data->info);
  EXPECT_EQ(data->ticket, ticket());
  bytes.back() = std::byte{1};
  EXPECT_FALSE(decode_private_data(bytes));
}

TEST(EndpointInfoTest, PrivateDataWithoutATicketIsRefused) {
  EXPECT_FALSE(decode_private_data(encode_private_data({sample(), CmTicket{}})));
  auto bytes = encode_private_data({sample(), ticket()});
  bytes[0] = std::byte{1};  // the version that had none
  EXPECT_FALSE(decode_private_data(bytes));
}

TEST(EndpointInfoTest, ATicketTakesThePlaceOfAnEndpointAndIsNone) {
  auto bytes = encode_cm_endpoint(ticket());
  EXPECT_EQ(bytes.size(), 18u);
  EXPECT_FALSE(decode_endpoint_info(bytes));
  EXPECT_FALSE(decode_cm_endpoint(encode(sample())));
  for (std::size_t length = 0; length < bytes.size(); ++length) {
    EXPECT_FALSE(decode_cm_endpoint(ConstBytes(bytes).first(length))) << length;
  }
  const auto read = decode_cm_endpoint(bytes);
  ASSERT_TRUE(read);
  EXPECT_EQ(*read, ticket());
  EXPECT_FALSE(decode_cm_endpoint(encode_cm_endpoint(CmTicket{})));
  bytes.push_back(std::byte{0});
  EXPECT_FALSE(decode_cm_endpoint(bytes));
}

}  // namespace
}  // namespace lunar::msgr::rdma
