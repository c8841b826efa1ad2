// SPDX-License-Identifier: LGPL-2.1-or-later
// The defaults of options are those of the table in common/options.cc: a structure of options made
// by hand has the values that an empty configuration gives. A structure with a from_config(), and
// each one inside it, is taken apart by a structured binding first, which compiles only while every
// field is counted here.

#include <gtest/gtest.h>

#include "common/config.h"
#include "gateway/io/delivery.h"
#include "msgr/messenger.h"
#include "msgr/net/inject_stack.h"
#include "msgr/posix/posix_stack.h"
#include "msgr/rdma/rdma_options.h"
#include "objecter/objecter.h"
#include "osd/map/map_service.h"
#include "osd/ops/op_tracker.h"
#include "osd/service/server_options.h"
#include "osd/store/file_store.h"

namespace lunar {
namespace {

// The field of `plain`, made by hand, and of `read`, from the empty configuration.
#define EXPECT_SAME(field) EXPECT_EQ(plain.field, read.field) << "field " #field

class OptionsStructsTest : public ::testing::Test {
 protected:
  const Config empty_;
};

TEST_F(OptionsStructsTest, MessengerOptionsHaveTheTablesDefaults) {
  const msgr::MessengerOptions plain;
  const auto made = msgr::MessengerOptions::from_config(empty_);
  ASSERT_TRUE(made) << made.error().message;
  const msgr::MessengerOptions& read = *made;
  [[maybe_unused]] const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w,
                                x, y, z, aa, ab, ac] = plain;
  [[maybe_unused]] const auto& [ad, ae] = plain.limits;
  EXPECT_SAME(entity);
  EXPECT_SAME(instance);
  EXPECT_SAME(nonce);
  EXPECT_SAME(auth_required);
  EXPECT_SAME(modes);
  EXPECT_SAME(secure_max_bytes);
  EXPECT_SAME(secure_max_age);
  EXPECT_SAME(crc_data);
  EXPECT_SAME(one_sided);
  EXPECT_SAME(tcp_nodelay);
  EXPECT_SAME(tcp_congestion);
  EXPECT_SAME(tcp_rcvbuf);
  EXPECT_SAME(connection_ready_timeout);
  EXPECT_SAME(connection_idle_timeout);
  EXPECT_SAME(initial_backoff);
  EXPECT_SAME(max_backoff);
  EXPECT_SAME(keepalive_interval);
  EXPECT_SAME(keepalive_timeout);
  EXPECT_SAME(session_timeout);
  EXPECT_SAME(dispatch_throttle_bytes);
  EXPECT_SAME(max_unread_messages);
  EXPECT_SAME(max_sessions);
  EXPECT_SAME(max_handshakes);
  EXPECT_SAME(max_handshakes_per_host);
  EXPECT_SAME(limits.max_front_bytes);
  EXPECT_SAME(limits.max_data_bytes);
  EXPECT_SAME(inject_socket_failures);
  EXPECT_SAME(inject_delay_probability);
  EXPECT_SAME(inject_delay_max);
  EXPECT_SAME(inject_seed);
}

TEST_F(OptionsStructsTest, RdmaOptionsHaveTheTablesDefaults) {
  const msgr::rdma::RdmaOptions plain;
  const auto made = msgr::rdma::RdmaOptions::from_config(empty_);
  ASSERT_TRUE(made) << made.error().message;
  const msgr::rdma::RdmaOptions& read = *made;
  [[maybe_unused]] const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r, s, t, u, v, w,
                                x, y, z, aa] = plain;
  [[maybe_unused]] const auto& [ab, ac] = plain.limits;
  EXPECT_SAME(limits.max_front_bytes);
  EXPECT_SAME(limits.max_data_bytes);
  EXPECT_SAME(crc_data);
  EXPECT_SAME(device_name);
  EXPECT_SAME(port_num);
  EXPECT_SAME(gid_index);
  EXPECT_SAME(local_gid);
  EXPECT_SAME(gid_type);
  EXPECT_SAME(service_level);
  EXPECT_SAME(traffic_class);
  EXPECT_SAME(use_cm);
  EXPECT_SAME(may_fall_back);
  EXPECT_SAME(fallback_timeout);
  EXPECT_SAME(use_srq);
  EXPECT_SAME(segment_bytes);
  EXPECT_SAME(receive_buffers);
  EXPECT_SAME(receive_queue_len);
  EXPECT_SAME(send_buffers);
  EXPECT_SAME(send_queue_len);
  EXPECT_SAME(max_read_depth);
  EXPECT_SAME(fragment_bytes);
  EXPECT_SAME(use_hugepages);
  EXPECT_SAME(staging_bytes);
  EXPECT_SAME(front_end_bytes);
  EXPECT_SAME(rkey_scope);
  EXPECT_SAME(ack_timeout);
  EXPECT_SAME(polling);
  EXPECT_SAME(drain_timeout);
}

TEST_F(OptionsStructsTest, ObjecterOptionsHaveTheTablesDefaults) {
  const objecter::Objecter::Options plain;
  const auto made = objecter::Objecter::Options::from_config(empty_);
  ASSERT_TRUE(made) << made.error().message;
  const objecter::Objecter::Options& read = *made;
  [[maybe_unused]] const auto& [a, b, c, d, e, f, g] = plain;
  EXPECT_SAME(authority);
  EXPECT_SAME(op_timeout);
  EXPECT_SAME(max_in_flight_ops);
  EXPECT_SAME(max_in_flight_bytes);
  EXPECT_SAME(cancel_grace);
  EXPECT_SAME(rkey_revoke_timeout);
  EXPECT_TRUE(plain.bootstrap.empty() && read.bootstrap.empty());
}

TEST_F(OptionsStructsTest, OsdServerOptionsHaveTheTablesDefaults) {
  const osd::OsdServerOptions plain;
  const auto made = osd::OsdServerOptions::from_config(empty_);
  ASSERT_TRUE(made) << made.error().message;
  const osd::OsdServerOptions& read = *made;
  [[maybe_unused]] const auto& [a, b, c, d, e, f, g, h, i, j, k, l, m, n] = plain;
  EXPECT_SAME(authority);
  EXPECT_SAME(nearfull_ratio);
  EXPECT_TRUE(plain.bootstrap.empty() && read.bootstrap.empty());
  EXPECT_SAME(grace);
  EXPECT_SAME(heartbeat_grace);
  EXPECT_SAME(heartbeat_interval);
  EXPECT_SAME(retry_interval);
  EXPECT_SAME(admins);
  EXPECT_SAME(auth_required);
}

TEST_F(OptionsStructsTest, WatchesExecutorAndTrackingOfAServerHaveTheTablesDefaults) {
  const osd::OsdServerOptions plain;
  const auto made = osd::OsdServerOptions::from_config(empty_);
  ASSERT_TRUE(made) << made.error().message;
  const osd::OsdServerOptions& read = *made;
  [[maybe_unused]] const auto& [a, b, c, cc, d, d_more] = plain.watches;
  [[maybe_unused]] const auto& [e, e_more, e_last] = plain.watches.notifies;
  [[maybe_unused]] const auto& [ee, ee_more, ee_last] = plain.watches.notifies.slots;
  EXPECT_SAME(watches.timeout);
  EXPECT_SAME(watches.max_watches_of_object);
  EXPECT_SAME(watches.max_watches_of_client);
  EXPECT_SAME(watches.max_watches);
  EXPECT_SAME(watches.notifies.slots.max_of_object);
  EXPECT_SAME(watches.notifies.slots.max_of_client);
  EXPECT_SAME(watches.notifies.slots.max_of_all);
  EXPECT_SAME(watches.notifies.bytes);
  EXPECT_SAME(watches.notifies.max_timeout);
  EXPECT_SAME(watches.unread.total);
  EXPECT_SAME(watches.unread.connection);
  EXPECT_SAME(watches.unread.always);
  [[maybe_unused]] const auto& [f, g, h, hh] = plain.executor;
  EXPECT_SAME(executor.max_executing);
  EXPECT_SAME(executor.max_waiting);
  EXPECT_SAME(executor.max_waiting_of_one);
  [[maybe_unused]] const auto& [i, j, k] = plain.tracking;
  EXPECT_SAME(tracking.history_size);
  EXPECT_SAME(tracking.history_duration);
  EXPECT_SAME(tracking.complaint_time);
}

TEST_F(OptionsStructsTest, LimitsAndSessionsOfAServerHaveTheTablesDefaults) {
  const osd::OsdServerOptions plain;
  const auto made = osd::OsdServerOptions::from_config(empty_);
  ASSERT_TRUE(made) << made.error().message;
  const osd::OsdServerOptions& read = *made;
  [[maybe_unused]] const auto& [a, b, c, d, e, f, aa, bb, cc] = plain.limits;
  EXPECT_SAME(limits.max_object_bytes);
  EXPECT_SAME(limits.max_write_bytes);
  EXPECT_SAME(limits.max_read_bytes);
  EXPECT_SAME(limits.max_reply_bytes);
  EXPECT_SAME(limits.max_metadata_bytes);
  EXPECT_SAME(limits.max_pull_wait);
  EXPECT_SAME(limits.max_buffer_wait);
  EXPECT_SAME(limits.max_hold);
  EXPECT_SAME(limits.reply_patience);
  [[maybe_unused]] const auto& [g, h, i, gg, hh, ii, jj] = plain.sessions;
  [[maybe_unused]] const auto& [j, k, l] = plain.sessions.limits;
  EXPECT_SAME(sessions.timeout);
  EXPECT_SAME(sessions.result_bytes);
  EXPECT_SAME(sessions.max_held);
  EXPECT_SAME(sessions.limits.max_results);
  EXPECT_SAME(sessions.limits.max_result_bytes);
  EXPECT_SAME(sessions.limits.max_held);
  EXPECT_SAME(sessions.max_sessions);
  EXPECT_SAME(sessions.max_sessions_of_entity);
  EXPECT_SAME(sessions.reply_bytes);
}

// What a server hands on to what it is made of.
TEST_F(OptionsStructsTest, WhatAServerIsMadeOfHasTheDefaultsOfTheServer) {
  const osd::OsdServerOptions server;
  const osd::MapService::Options maps;
  EXPECT_EQ(maps.graces.session, server.grace);
  EXPECT_EQ(maps.graces.heartbeat, server.heartbeat_grace);
  EXPECT_EQ(maps.pace.retry, server.retry_interval);
  EXPECT_EQ(maps.pace.heartbeat, server.heartbeat_interval);
  EXPECT_EQ(maps.auth_required, server.auth_required);
}

// These have no from_config(): their owners fill them in.
TEST_F(OptionsStructsTest, FileStoreOptionsHaveTheTablesDefaults) {
  const osd::FileStoreOptions plain;
  EXPECT_EQ(plain.reserve_bytes, empty_.get_size("osd_reserve_bytes"));
  EXPECT_EQ(plain.direct_io_bytes, empty_.get_size("osd_direct_io_bytes"));
}

TEST_F(OptionsStructsTest, StackOptionsHaveTheTablesDefaults) {
  const msgr::PosixStackOptions posix;
  const msgr::MessengerOptions messenger;
  EXPECT_EQ(posix.link.limits.max_front_bytes, messenger.limits.max_front_bytes);
  EXPECT_EQ(posix.link.limits.max_data_bytes, messenger.limits.max_data_bytes);
  EXPECT_EQ(posix.link.crc_data, messenger.crc_data);
  EXPECT_EQ(posix.tcp_nodelay, messenger.tcp_nodelay);
  EXPECT_EQ(posix.tcp_congestion, messenger.tcp_congestion);
  EXPECT_EQ(posix.tcp_rcvbuf, messenger.tcp_rcvbuf);
  const msgr::InjectOptions inject;
  EXPECT_EQ(inject.socket_failures, messenger.inject_socket_failures);
  EXPECT_EQ(inject.delay_probability, messenger.inject_delay_probability);
  EXPECT_EQ(inject.delay_max, messenger.inject_delay_max);
  EXPECT_EQ(inject.seed, messenger.inject_seed);
}

TEST_F(OptionsStructsTest, TheGatewaysDeliveryPolicyHasTheTablesDefaults) {
  const gateway::DeliveryPolicy plain;
  EXPECT_EQ(plain.one_sided_threshold, empty_.get_size("lunar_one_sided_threshold"));
  EXPECT_EQ(plain.fragment_bytes, empty_.get_size("ms_async_rdma_fragment_size"));
}

}  // namespace
}  // namespace lunar
