// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/server_options.h"

#include <algorithm>
#include <utility>

namespace lunar::osd {

std::vector<std::string> split_words(const std::string& text) {
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

Outcome<OsdServerOptions> OsdServerOptions::from_config(const Config& config) {
  OsdServerOptions options;
  options.limits.max_object_bytes = config.get_size("osd_max_object_size");
  options.limits.max_write_bytes = config.get_size("osd_max_write_size");
  // The messenger takes a message that no frame can carry for a broken invariant of ours.
  options.limits.max_reply_bytes = config.get_size("ms_max_data_bytes");
  options.limits.max_read_bytes =
      std::min(options.limits.max_read_bytes, options.limits.max_reply_bytes);
  options.sessions.timeout = config.get_duration("osd_client_session_timeout");
  options.sessions.max_results = config.get_uint("osd_client_results_max");
  options.max_executing_ops = config.get_uint("osd_client_message_cap");
  options.grace = config.get_duration("osd_heartbeat_grace");
  options.admins = split_words(config.get_string("osd_admin_entities"));
  options.history_size = config.get_uint("osd_op_history_size");
  options.history_duration = config.get_duration("osd_op_history_duration");
  options.complaint_time = config.get_duration("osd_op_complaint_time");
  options.auth_required = config.get_string("auth_service_required") == "psk" ||
                          config.get_string("auth_cluster_required") == "psk";
  for (const std::string& word : split_words(config.get_string("mon_host"))) {
    const auto address = msgr::Address::parse(word);
    if (!address) return failure(address.error().code, "mon_host: " + address.error().message);
    if (address->port() == 0)
      return failure(std::errc::invalid_argument,
                     "mon_host: " + word + " names no port; write it as ADDRESS:PORT");
    options.bootstrap.push_back(*address);
  }
  return options;
}

}  // namespace lunar::osd
