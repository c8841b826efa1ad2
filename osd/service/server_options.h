// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/result.h"
#include "msgr/address.h"
#include "osd/clients/client_session.h"
#include "osd/ops/op_check.h"

namespace lunar::osd {

// How a server behaves. A value; from_config() names the option of each.
struct OsdServerOptions {
  OpLimits limits;
  ClientSessions::Options sessions;
  std::size_t max_executing_ops = 1024;  // osd_client_message_cap
  std::size_t max_waiting_ops = 65536;   // above it clients are told kBusy
  std::vector<msgr::Address> bootstrap;  // mon_host: where the cluster may be found
  std::chrono::nanoseconds grace{std::chrono::seconds(20)};          // osd_heartbeat_grace
  std::chrono::nanoseconds retry_interval{std::chrono::seconds(1)};  // to find the authority
  std::vector<std::string> admins{"client.admin"};                   // osd_admin_entities
  bool auth_required = false;
  std::size_t history_size = 20;                                        // osd_op_history_size
  std::chrono::nanoseconds history_duration{std::chrono::minutes(10)};  // osd_op_history_duration
  std::chrono::nanoseconds complaint_time{std::chrono::seconds(30)};    // osd_op_complaint_time

  static Outcome<OsdServerOptions> from_config(const Config& config);
};

// Words separated by commas or blanks.
std::vector<std::string> split_words(const std::string& text);

}  // namespace lunar::osd
