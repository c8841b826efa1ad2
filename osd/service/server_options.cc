// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/server_options.h"

#include <algorithm>
#include <utility>

#include "msgr/messenger.h"
#include "objecter/cluster/mon_host.h"

namespace lunar::osd {

namespace {

// The names of a list, which are separated by commas or blanks.
std::vector<std::string> names_in(const std::string& text) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : text + ",") {
    if (c != ',' && c != ' ' && c != '\t')
      word += c;
    else if (!word.empty())
      words.push_back(std::exchange(word, {}));
  }
  return words;
}

}  // namespace

Outcome<OsdServerOptions> OsdServerOptions::from_config(const Config& config) {
  OsdServerOptions options;
  options.limits.max_object_bytes = config.get_size("osd_max_object_size");
  options.limits.max_write_bytes = config.get_size("osd_max_write_size");
  // The messenger takes a message that no frame can carry for a broken invariant of ours.
  options.limits.max_reply_bytes = config.get_size("ms_max_data_bytes");
  options.limits.max_read_bytes =
      std::min(options.limits.max_read_bytes, options.limits.max_reply_bytes);
  options.sessions.timeout = config.get_duration("osd_client_session_timeout");
  options.sessions.limits.max_results = config.get_uint("osd_client_results_max");
  options.watches.timeout =
      std::chrono::ceil<std::chrono::milliseconds>(config.get_duration("osd_client_watch_timeout"));
  options.sessions.max_sessions = config.get_uint("osd_client_sessions_max");
  options.sessions.max_sessions_of_entity = config.get_uint("osd_client_sessions_per_entity");
  options.sessions.reply_bytes = config.get_size("osd_client_reply_bytes");
  options.executor.max_executing = config.get_uint("osd_client_message_cap");
  options.nearfull_ratio = config.get_double("mon_osd_nearfull_ratio");
  options.grace = config.get_duration("osd_session_grace");
  options.heartbeat_grace = config.get_duration("osd_heartbeat_grace");
  options.heartbeat_interval = config.get_duration("osd_heartbeat_interval");
  if (options.heartbeat_interval > options.heartbeat_grace / 2)
    return failure(std::errc::invalid_argument,
                   "osd_heartbeat_interval is longer than half of osd_heartbeat_grace: a server "
                   "would be held dead for one heartbeat that comes late");
  options.admins = names_in(config.get_string("osd_admin_entities"));
  options.tracking.history_size = config.get_uint("osd_op_history_size");
  options.tracking.history_duration = config.get_duration("osd_op_history_duration");
  options.tracking.complaint_time = config.get_duration("osd_op_complaint_time");
  options.auth_required = msgr::requires_authentication(config);
  auto bootstrap = objecter::parse_mon_host(config.get_string("mon_host"));
  if (!bootstrap) return failure(std::move(bootstrap.error()));
  options.bootstrap = std::move(*bootstrap);
  auto authority = objecter::parse_map_authority(config.get_string("map_authority"));
  if (!authority) return failure(std::move(authority.error()));
  options.authority = *authority;
  return options;
}

}  // namespace lunar::osd
