// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/server_commands.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "common/size_parse.h"
#include "msgr/errors.h"
#include "objecter/cluster/text_message.h"

namespace lunar::objecter {
namespace {

// The next try would end in the same way.
bool is_refusal(const std::error_code& why) {
  return why == msgr::MsgrErrc::kAuthFailed || why == msgr::MsgrErrc::kFeatureMismatch;
}

}  // namespace

ServerCommands::ServerCommands(msgr::EventCenter& center, ObjecterCounters& counters,
                               CommandServers& servers)
    : center_(center), counters_(counters), servers_(servers) {}

void ServerCommands::run(Tid tid, OsdId osd, std::string json, std::chrono::nanoseconds timeout,
                         CommandDone done) {
  center_.assert_in_loop();
  SentCommand& command = commands_[tid];
  command.osd = osd;
  command.json = std::move(json);
  command.timeout = timeout;
  command.done = std::move(done);
  counters_.command_active.set(commands_.size());
  command.timer = center_.run_after(timeout, [this, tid] { time_out(tid); });
  // Later in any case: it may fail at once.
  center_.post([this, tid] {
    if (commands_.count(tid) != 0) place(tid);
  });
}

std::string ServerCommands::describe_target(const SentCommand& command) const {
  const OsdId osd = command.osd >= 0 ? command.osd : map_ == nullptr ? -1 : map_->authority;
  const char* role = command.osd >= 0 ? "" : ", the map authority,";
  const std::string where =
      command.server == nullptr ? "" : " at " + command.server->address().to_string();
  return fmt::format("osd.{}{}{}", osd, where, role);
}

// Finds out where an unsent command goes, and sends it if that server is ready.
void ServerCommands::place(Tid tid) {
  if (is_shut_down_) return finish(tid, failure(OsdErrc::kShutdown, "shutting down"));
  SentCommand& command = commands_.at(tid);
  if (command.json.size() > kMaxCommandText) {
    return finish(tid,
                  failure(OsdErrc::kTooLarge,
                          fmt::format("a command of {} bytes is not sent: at most {} are taken",
                                      command.json.size(), kMaxCommandText)));
  }
  if (map_ == nullptr || command.was_sent) return;
  const OsdId id = command.osd >= 0 ? command.osd : map_->authority;
  const OsdInfo* osd = map_->find_osd(id);
  if (osd == nullptr) {
    return finish(
        tid, failure(OsdErrc::kInvalid, fmt::format("there is no osd.{} in the cluster map", id)));
  }
  if (osd->addresses.empty()) {
    return finish(
        tid, failure(OsdErrc::kUnreachable, fmt::format("osd.{} has never been up: start it", id)));
  }
  command.server = servers_.server_for(*osd);
  if (is_refusal(command.server->last_error()) && !command.server->is_open()) {
    return lose(tid, command.server->last_error());
  }
  if (may_send(command)) send(tid, command);
}

// To the OSD it names, on the store that the map means. The authority only has to be that OSD:
// after the loss of its store it is on another one until the map is restored, by a command.
bool ServerCommands::may_send(const SentCommand& command) const {
  const auto& hello = command.server->hello();
  if (!hello) return false;
  if (command.osd < 0) return hello->osd == map_->authority;
  const OsdInfo* osd = map_->find_osd(command.osd);
  return osd != nullptr && is_meant(*osd, *hello);
}

void ServerCommands::send(Tid tid, SentCommand& command) {
  if (command.json.size() <= CommandReply::kMaxTextBytes) {
    const ConstBytes text = as_const_bytes(command.json);
    command.server->send_front(MessageType::kCommand, {text.begin(), text.end()}, tid);
  } else {
    command.server->connection().send(std::make_unique<TextMessage>(
        MessageType::kCommand, tid, std::vector<std::byte>(), std::move(command.json)));
  }
  command.was_sent = true;
  counters_.command_send.add();
}

void ServerCommands::on_hello(const ServerRef& server) {
  for (auto& [tid, command] : commands_) {
    if (!command.was_sent && command.server == server && may_send(command)) send(tid, command);
  }
}

void ServerCommands::on_new_map(OsdMapRef map) {
  map_ = std::move(map);
  std::vector<Tid> tids;
  for (const auto& [tid, command] : commands_) tids.push_back(tid);
  for (const Tid tid : tids) {
    const auto at = commands_.find(tid);
    if (at == commands_.end()) continue;
    SentCommand& command = at->second;
    if (command.answer && command.epoch <= epoch()) {
      finish(tid, std::move(*command.answer));
    } else {
      place(tid);
    }
  }
}

void ServerCommands::on_reset(const ServerConnection& server, std::error_code why) {
  std::vector<Tid> lost;
  for (const auto& [tid, command] : commands_) {
    const bool is_hopeless = command.was_sent || is_refusal(why);
    if (command.server.get() == &server && !command.answer && is_hopeless) lost.push_back(tid);
  }
  for (const Tid tid : lost) {
    if (commands_.count(tid) != 0) lose(tid, why);
  }
}

void ServerCommands::lose(Tid tid, std::error_code why) {
  const SentCommand& command = commands_.at(tid);
  const std::string who = describe_target(command);
  finish(tid, command.was_sent
                  ? failure(OsdErrc::kUnknownOutcome,
                            fmt::format("the connection to {} was lost before it answered ({}); "
                                        "look whether it did what was asked",
                                        who, why.message()))
                  : failure(why, fmt::format("{} refused the connection: {}", who, why.message())));
}

void ServerCommands::time_out(Tid tid) {
  SentCommand& late = commands_.at(tid);
  late.timer = msgr::TimerId::kNone;
  if (late.answer) return finish(tid, std::move(*late.answer));
  if (map_ == nullptr) return finish(tid, failure(servers_.explain_no_map(late.timeout)));
  finish(tid, failure(late.was_sent ? OsdErrc::kTimedOut : OsdErrc::kUnreachable,
                      fmt::format("{} did not answer within {}{}", describe_target(late),
                                  format_duration(late.timeout),
                                  late.was_sent ? "; it may still do what was asked" : "")));
}

void ServerCommands::on_reply(const ServerRef& server, const msgr::InMessage& message) {
  const auto at = commands_.find(message.meta.tid);
  auto reply = decode_command_reply(message.front, message.data);
  if (at == commands_.end() || at->second.server != server || !at->second.was_sent ||
      at->second.answer || !reply) {
    counters_.reply_ignored.add();
    return;
  }
  if (reply->error != OsdErrc::kOk) {
    return finish(at->first, failure(reply->error, std::move(reply->text)));
  }
  if (reply->epoch <= epoch()) return finish(at->first, std::move(reply->text));
  at->second.answer = std::move(reply->text);
  at->second.epoch = reply->epoch;
  servers_.want_map(reply->epoch, *server);
}

void ServerCommands::finish(Tid tid, Outcome<std::string> result) {
  auto node = commands_.extract(tid);
  SentCommand& command = node.mapped();
  center_.cancel(command.timer);
  counters_.command_active.set(commands_.size());
  command.done(std::move(result));
}

void ServerCommands::shut_down() {
  is_shut_down_ = true;
  while (!commands_.empty()) {
    finish(commands_.begin()->first, failure(OsdErrc::kShutdown, "shutting down"));
  }
}

}  // namespace lunar::objecter
