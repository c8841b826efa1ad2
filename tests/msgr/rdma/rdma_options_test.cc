// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/rdma_options.h"

#include <gtest/gtest.h>

#include "common/config.h"

namespace lunar::msgr::rdma {
namespace {

class RdmaOptionsTest : public testing::Test {
 protected:
  void set(std::string_view name, std::string_view value) {
    const auto done = config_.set(name, value);
    ASSERT_TRUE(done) << done.error().message;
  }
  std::string refusal() {
    const auto options = RdmaOptions::from_config(config_);
    return options ? "" : options.error().message;
  }
  Config config_;
};

TEST_F(RdmaOptionsTest, DefaultsOfTheTableAreThoseOfTheStruct) {
  const auto options = RdmaOptions::from_config(config_);
  ASSERT_TRUE(options) << options.error().message;
  const RdmaOptions plain;
  EXPECT_EQ(options->gid_index, plain.gid_index);
  EXPECT_EQ(options->local_gid, plain.local_gid);
  EXPECT_EQ(options->gid_type, plain.gid_type);
  EXPECT_EQ(options->use_cm, plain.use_cm);
  EXPECT_EQ(options->may_fall_back, plain.may_fall_back);
  EXPECT_EQ(options->fallback_timeout, plain.fallback_timeout);
  EXPECT_EQ(options->use_srq, plain.use_srq);
  EXPECT_EQ(options->segment_bytes, plain.segment_bytes);
  EXPECT_EQ(options->receive_buffers, plain.receive_buffers);
  EXPECT_EQ(options->receive_queue_len, plain.receive_queue_len);
  EXPECT_EQ(options->send_buffers, plain.send_buffers);
  EXPECT_EQ(options->send_queue_len, plain.send_queue_len);
  EXPECT_EQ(options->max_read_depth, plain.max_read_depth);
  EXPECT_EQ(options->fragment_bytes, plain.fragment_bytes);
  EXPECT_EQ(options->staging_bytes, plain.staging_bytes);
  EXPECT_EQ(options->front_end_bytes, plain.front_end_bytes);
  EXPECT_EQ(options->rkey_scope, plain.rkey_scope);
  EXPECT_EQ(options->ack_timeout, plain.ack_timeout);
  EXPECT_EQ(options->polling, plain.polling);
  EXPECT_EQ(options->drain_timeout, plain.drain_timeout);
}

TEST_F(RdmaOptionsTest, AnAckTimeoutIsRoundedUpToWhatAQueuePairTakes) {
  for (const auto& [text, exponent] : {std::pair{"1ms", 8}, {"1s", 18}, {"8s", 21}}) {
    set("ms_async_rdma_ack_timeout", text);
    const auto options = RdmaOptions::from_config(config_);
    ASSERT_TRUE(options) << options.error().message;
    EXPECT_EQ(options->ack_timeout, exponent) << text;
  }
}

TEST_F(RdmaOptionsTest, EveryChoiceArrives) {
  set("ms_async_rdma_device_name", "mlx5_1");
  set("ms_async_rdma_port_num", "2");
  set("ms_async_rdma_gid_idx", "3");
  set("ms_async_rdma_local_gid", "::ffff:10.0.0.1");
  set("ms_async_rdma_roce_ver", "2");
  set("ms_async_rdma_sl", "3");
  set("ms_async_rdma_dscp", "24");
  set("ms_async_rdma_cm", "true");
  set("ms_async_rdma_fallback", "false");
  set("ms_async_rdma_support_srq", "false");
  set("ms_async_rdma_enable_hugepage", "true");
  set("ms_async_rdma_polling_us", "50");
  set("ms_async_rdma_rkey_scope", "arena");
  const auto options = RdmaOptions::from_config(config_);
  ASSERT_TRUE(options) << options.error().message;
  EXPECT_EQ(options->device_name, "mlx5_1");
  EXPECT_EQ(options->port_num, 2);
  EXPECT_EQ(options->gid_index, 3);
  ASSERT_TRUE(options->local_gid);
  EXPECT_EQ((*options->local_gid)[15], 1);
  EXPECT_EQ(options->gid_type, GidType::kRoceV2);
  EXPECT_EQ(options->service_level, 3);
  EXPECT_EQ(options->traffic_class, 24 << 2);
  EXPECT_TRUE(options->use_cm);
  EXPECT_FALSE(options->may_fall_back);
  EXPECT_FALSE(options->use_srq);
  EXPECT_TRUE(options->use_hugepages);
  EXPECT_EQ(options->polling, std::chrono::microseconds(50));
  EXPECT_EQ(options->rkey_scope, RkeyScope::kArena);
}

TEST_F(RdmaOptionsTest, WhatCannotBeIsNamed) {
  set("ms_async_rdma_gid_idx", "-1");
  EXPECT_NE(refusal().find("ms_async_rdma_gid_idx = -1"), std::string::npos) << refusal();
  set("ms_async_rdma_gid_idx", "3x");
  EXPECT_NE(refusal().find("ms_async_rdma_gid_idx = 3x"), std::string::npos) << refusal();
  set("ms_async_rdma_gid_idx", "");
  set("ms_async_rdma_local_gid", "10.0.0.1");
  EXPECT_NE(refusal().find("ms_async_rdma_local_gid"), std::string::npos) << refusal();
  set("ms_async_rdma_local_gid", "");
  set("ms_async_rdma_receive_buffers", "64");
  set("ms_async_rdma_receive_queue_len", "65");
  EXPECT_NE(refusal().find("ms_async_rdma_receive_queue_len = 65"), std::string::npos);
  set("ms_async_rdma_support_srq", "false");  // then they share nothing
  EXPECT_EQ(refusal(), "");
}

TEST_F(RdmaOptionsTest, MoreBuffersThanASlabHoldsAreRefusedByName) {
  set("ms_async_rdma_send_buffers", "2048");
  EXPECT_EQ(refusal(), "");
  set("ms_async_rdma_send_buffers", "2049");
  EXPECT_NE(refusal().find("ms_async_rdma_send_buffers = 2049"), std::string::npos) << refusal();
  EXPECT_NE(refusal().find("ms_async_rdma_buffer_size = 8192"), std::string::npos) << refusal();
  set("ms_async_rdma_buffer_size", "64K");
  set("ms_async_rdma_send_buffers", "256");
  EXPECT_EQ(refusal(), "");
  set("ms_async_rdma_send_buffers", "257");
  EXPECT_NE(refusal(), "");
}

}  // namespace
}  // namespace lunar::msgr::rdma
