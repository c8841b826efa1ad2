// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "objecter/protocol/control.h"
#include "objecter/protocol/types.h"
#include "tools/lunar/command.h"

// JSON commands to servers, as `ceph` sends them to monitors and OSDs, and their answers.

namespace lunar::tools {

constexpr std::chrono::seconds kAnswerTimeout{30};      // if nobody else can answer
constexpr std::chrono::milliseconds kShowTimeout{900};  // of one server, if another one can

// To one server, or with -1 to the map authority; the text of the answer.
Outcome<std::string> ask_server(CommandContext& context, objecter::OsdId osd,
                                const nlohmann::ordered_json& request,
                                std::chrono::nanoseconds timeout = kAnswerTimeout);

struct ServerReply {
  objecter::OsdId osd = -1;
  Outcome<std::string> text;
};
// To all of them at the same time: their replies in their order, after `timeout` at the latest.
Outcome<std::vector<ServerReply>> send_to_each(CommandContext& context,
                                               const std::vector<objecter::OsdId>& osds,
                                               const nlohmann::ordered_json& request,
                                               std::chrono::nanoseconds timeout);
struct ServerRequest {
  objecter::OsdId osd = -1;
  nlohmann::ordered_json request;
  std::chrono::nanoseconds timeout;
};
// The same of different requests, and of several to one server.
Outcome<std::vector<ServerReply>> send_all(CommandContext& context,
                                           const std::vector<ServerRequest>& requests);

struct ServerAnswer {
  std::string text;
  objecter::OsdId osd = -1;  // whose it is; -1: the map authority's
};
// What changes nothing: the map authority's answer, or if it is silent that of any other server,
// and a line on stderr that says so. If nobody answers soon, the authority is waited for.
Outcome<ServerAnswer> send_to_any(CommandContext& context, const nlohmann::ordered_json& request);
// The same when the authority's answer, which was given kShowTimeout, is known.
Outcome<ServerAnswer> send_to_any(CommandContext& context, const nlohmann::ordered_json& request,
                                  Outcome<std::string> of_authority);

// The server did not answer, for whatever reason.
bool is_silence(const Error& error);

// Members of an answer, whose types are another program's business.
std::string text_in(const nlohmann::ordered_json& json, const char* name, const char* otherwise);
uint64_t number_in(const nlohmann::ordered_json& json, const char* name);

}  // namespace lunar::tools
