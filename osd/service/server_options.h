// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "common/config.h"
#include "common/result.h"
#include "msgr/address.h"
#include "osd/clients/client_sessions.h"
#include "osd/ops/bounded_executor.h"
#include "osd/ops/op_check.h"
#include "osd/ops/op_tracker.h"
#include "osd/watch/watch_table.h"

namespace lunar::osd {

// How a server behaves. A value; from_config() names the option of each.
struct OsdServerOptions {
  OpLimits limits;                                  // osd_max_object_size, osd_max_write_size
  ClientSessions::Options sessions;                 // osd_client_…, but for …_message_cap
  WatchTable::Options watches;                      // osd_client_watch_timeout
  BoundedExecutor::Limits executor;                 // osd_client_message_cap
  OpTracker::Options tracking;                      // osd_op_history_*, osd_op_complaint_time
  std::vector<msgr::Address> bootstrap;             // mon_host: where the cluster may be found
  std::optional<objecter::OsdId> authority;         // map_authority; none: the first map says
  std::vector<std::string> admins{"client.admin"};  // osd_admin_entities: who may send commands
  double nearfull_ratio = 0.85;                     // mon_osd_nearfull_ratio: used / total
  std::chrono::nanoseconds grace{std::chrono::seconds(20)};              // osd_session_grace
  std::chrono::nanoseconds heartbeat_grace{std::chrono::seconds(6)};     // osd_heartbeat_grace
  std::chrono::nanoseconds heartbeat_interval{std::chrono::seconds(1)};  // osd_heartbeat_interval
  std::chrono::nanoseconds retry_interval{std::chrono::seconds(1)};      // to find the authority
  bool auth_required = true;  // auth_service_required or auth_cluster_required is psk

  static Outcome<OsdServerOptions> from_config(const Config& config);
};

}  // namespace lunar::osd
