// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/status_json.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "common/json.h"
#include "objecter/protocol/op_names.h"

namespace lunar::objecter {
namespace {

using Json = nlohmann::ordered_json;

const char* name_of(OpState state) noexcept {
  switch (state) {
    case OpState::kThrottled:
      return "throttled";
    case OpState::kWaitMap:
      return "waiting for map";
    case OpState::kWaitSession:
      return "waiting for osd";
    case OpState::kSent:
      return "sent";
    case OpState::kMoving:
      return "moving";
    case OpState::kAnswered:
      return "answered";
    case OpState::kEnding:
      return "ending";
  }
  return "unknown";
}

double seconds(OpTime::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

}  // namespace

std::string ops_in_flight_json(const OpTable& table, const ServerCommands& commands_in_flight,
                               OpTime now) {
  Json ops = Json::array();
  table.for_each([&](const Op& op) {
    Json steps = Json::array();
    for (const SubOp& step : op.object_op.steps) {
      steps.push_back(fmt::format("{} {}~{}", name_of(step.code), step.offset, step.length));
    }
    if (op.kind == OpKind::kPoolFlush) steps.push_back("flush of every osd");
    ops.push_back({{"tid", op.tid},
                   {"pg", fmt::format("{}.{:x}", op.pg.pool, op.pg.seed)},
                   {"osd", op.osd},
                   {"object_id", op.object_op.object.name},
                   {"pool", op.object_op.object.pool},
                   {"io_id", fmt::format("{:x}", op.object_op.io_id)},
                   {"state", name_of(op.state)},
                   {"age", seconds(now - op.submitted)},
                   {"attempts", op.attempt},
                   {"bytes", op.budget_bytes},
                   {"osd_ops", std::move(steps)}});
  });
  Json commands = Json::array();
  commands_in_flight.for_each([&](Tid tid, OsdId osd, bool was_sent) {
    commands.push_back({{"tid", tid}, {"osd", osd}, {"sent", was_sent}});
  });
  return json_text({{"ops", std::move(ops)}, {"command_ops", std::move(commands)}});
}

std::string sessions_json(const OsdSessions& sessions_by_osd, Epoch epoch) {
  Json sessions = Json::array();
  sessions_by_osd.for_each([&](const OsdSession& session) {
    const ServerRef& server = session.server();
    const auto ops =
        static_cast<uint64_t>(std::distance(session.ops().begin(), session.ops().end()));
    const char* state = !session.is_up()                         ? "osd is down"
                        : session.is_ready()                     ? "open"
                        : server != nullptr && server->hello()   ? "another osd answers"
                        : server != nullptr && server->is_open() ? "waiting for hello"
                                                                 : "connecting";
    sessions.push_back(
        {{"osd", session.id()},
         {"address", server == nullptr ? "" : server->address().to_string()},
         {"state", state},
         {"link", server != nullptr && server->has_link()},
         {"incarnation", fmt::format("{:x}", session.incarnation())},
         {"ops", ops},
         {"oldest_tid", session.oldest_tid()},
         {"unflushed_images", session.unflushed().images()},
         {"last_error",
          server == nullptr || !server->last_error() ? "" : server->last_error().message()}});
  });
  return json_text({{"epoch", epoch}, {"sessions", std::move(sessions)}});
}

}  // namespace lunar::objecter
