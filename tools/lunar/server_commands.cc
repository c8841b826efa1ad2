// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/server_commands.h"

#include <algorithm>
#include <cstdio>

#include "common/json.h"
#include "common/visible_text.h"
#include "tools/lunar/text_table.h"

namespace lunar::tools {
namespace {

using Json = nlohmann::ordered_json;

// So many others are asked for the silent authority, the first by id: some of them may be down as
// well, and up in the map, which only the authority can change.
constexpr std::size_t kMostAsked = 4;

bool is_other_server(const objecter::OsdMap& map, const objecter::OsdInfo& osd) {
  return osd.up && osd.id != map.authority;
}

bool has_other_servers(const objecter::OsdMap& map) {
  return std::any_of(map.osds.begin(), map.osds.end(),
                     [&map](const auto& osd) { return is_other_server(map, osd); });
}

}  // namespace

Outcome<std::string> ask_server(CommandContext& context, objecter::OsdId osd, const Json& request,
                                std::chrono::nanoseconds timeout) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  return (*cluster)->wait<std::string>([&](auto done) {
    (*cluster)->client().objecter().command(osd, request.dump(), timeout, std::move(done));
  });
}

Outcome<std::vector<ServerReply>> send_all(CommandContext& context,
                                           const std::vector<ServerRequest>& requests) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  struct Asked {
    std::vector<ServerReply> replies;
    std::size_t num_open = 0;
  };
  const auto asked = std::make_shared<Asked>();
  asked->num_open = requests.size();
  for (const ServerRequest& each : requests) asked->replies.push_back({each.osd, {}});
  for (std::size_t i = 0; i < requests.size(); ++i) {
    const ServerRequest& each = requests[i];
    (*cluster)->client().objecter().command(each.osd, each.request.dump(), each.timeout,
                                            [asked, i](Outcome<std::string> text) {
                                              asked->replies[i].text = std::move(text);
                                              --asked->num_open;
                                            });
  }
  (*cluster)->run_until([asked] { return asked->num_open == 0; });
  return std::move(asked->replies);
}

Outcome<std::vector<ServerReply>> send_to_each(CommandContext& context,
                                               const std::vector<objecter::OsdId>& osds,
                                               const Json& request,
                                               std::chrono::nanoseconds timeout) {
  std::vector<ServerRequest> requests;
  for (const objecter::OsdId osd : osds) requests.push_back({osd, request, timeout});
  return send_all(context, requests);
}

bool is_silence(const Error& error) {
  return error.code == objecter::OsdErrc::kTimedOut ||
         error.code == objecter::OsdErrc::kUnreachable ||
         error.code == objecter::OsdErrc::kUnknownOutcome;
}

Outcome<ServerAnswer> send_to_any(CommandContext& context, const Json& request) {
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const bool has_others = has_other_servers(*(*cluster)->client().objecter().map());
  return send_to_any(context, request,
                     ask_server(context, -1, request, has_others ? kShowTimeout : kAnswerTimeout));
}

Outcome<ServerAnswer> send_to_any(CommandContext& context, const Json& request,
                                  Outcome<std::string> of_authority) {
  if (of_authority) return ServerAnswer{std::move(*of_authority)};
  if (!is_silence(of_authority.error())) return failure(of_authority.error());
  auto cluster = context.cluster();
  if (!cluster) return failure(cluster.error());
  const objecter::OsdMapRef map = (*cluster)->client().objecter().map();
  std::vector<objecter::OsdId> others;
  for (const objecter::OsdInfo& osd : map->osds) {
    if (is_other_server(*map, osd) && others.size() < kMostAsked) others.push_back(osd.id);
  }
  if (others.empty()) return failure(of_authority.error());
  auto replies = send_to_each(context, others, request, kShowTimeout);
  if (!replies) return failure(replies.error());
  for (ServerReply& other : *replies) {
    // One that has no map, or is of an earlier build, sends us to the authority.
    const bool knows_nothing =
        !other.text && other.text.error().code == objecter::OsdErrc::kStaleMap;
    if (!other.text && (knows_nothing || is_silence(other.text.error()))) continue;
    if (!other.text) return failure(other.text.error());
    print_visible(stderr,
                  "lunar: osd.%d, the map authority, does not answer: osd.%d says what it knows\n",
                  map->authority, other.osd);
    return ServerAnswer{std::move(*other.text), other.osd};
  }
  const auto answer = ask_server(context, -1, request);  // all are slow, or all are away
  if (!answer) return failure(answer.error());
  return ServerAnswer{*answer};
}

std::string text_in(const Json& json, const char* name, const char* otherwise) {
  const bool is_there = json.is_object() && json.contains(name) && json[name].is_string();
  return is_there ? printable_text(json[name].get_ref<const std::string&>()) : otherwise;
}
uint64_t number_in(const Json& json, const char* name) {
  const bool is_there = json.is_object() && json.contains(name) && json[name].is_number_unsigned();
  return is_there ? json[name].get<uint64_t>() : 0;
}

void print_json(const CommandContext& context, const Json& json) {
  const std::string text =
      context.wants_json() ? json_text(with_text_ids(json)) + "\n" : plain_text(json);
  print_visible(stdout, "%s", text.c_str());
}

namespace {

Outcome<void> print_answer(const CommandContext& context, const std::string& answer) {
  const Json json = parse_json_or_null<Json>(answer, objecter::kAnswerBounds);
  if (json.is_null()) {
    print_visible(stdout, "%s\n", answer.c_str());
  } else {
    print_json(context, json);
  }
  return {};
}

}  // namespace

Outcome<void> ask_authority(CommandContext& context, const Json& request) {
  const auto answer = ask_server(context, -1, request);
  if (!answer) return failure(answer.error());
  return print_answer(context, *answer);
}

Outcome<void> ask_any_server(CommandContext& context, const Json& request) {
  const auto answer = send_to_any(context, request);
  if (!answer) return failure(answer.error());
  return print_answer(context, answer->text);
}

}  // namespace lunar::tools
