// SPDX-License-Identifier: LGPL-2.1-or-later
// JSON commands to the map authority or one OSD. Never sent twice: nobody remembers their answers.
#include <fmt/format.h>

#include "common/size_parse.h"
#include "msgr/errors.h"
#include "objecter/objecter_impl.h"

namespace lunar::objecter {

void ObjecterImpl::command(OsdId osd, std::string json, std::chrono::nanoseconds timeout,
                           InlineFunction<void(Outcome<std::string>)> done) {
  center_.assert_in_loop();
  const Tid tid = table_.take_tid();
  Command& command = commands_[tid];
  command.osd = osd;
  command.json = std::move(json);
  command.done = std::move(done);
  counters_.command_active.set(commands_.size());
  command.timer = center_.run_after(timeout, [this, tid, timeout] {
    Command& late = commands_.at(tid);
    late.timer = msgr::TimerId::kNone;
    if (late.answer) return end_command(tid, std::move(*late.answer));
    if (targeting_.map() == nullptr) {
      return end_command(tid, failure(maps_.explain_no_map(timeout)));
    }
    end_command(tid, failure(late.is_sent ? OsdErrc::kTimedOut : OsdErrc::kUnreachable,
                             fmt::format("{} did not answer within {}{}", describe_target(late),
                                         format_duration(timeout),
                                         late.is_sent ? "; it may still do what was asked" : "")));
  });
  // Later in any case: it may fail at once.
  center_.post([this, tid] {
    if (commands_.count(tid) != 0) place_command(tid);
  });
}

std::string ObjecterImpl::describe_target(const Command& command) const {
  const OsdMapRef& map = targeting_.map();
  const OsdId osd = command.osd >= 0 ? command.osd : map == nullptr ? -1 : map->authority;
  const char* role = command.osd >= 0 ? "" : ", the map authority,";
  const std::string where =
      command.server == nullptr ? "" : " at " + command.server->address().to_string();
  return fmt::format("osd.{}{}{}", osd, where, role);
}

void ObjecterImpl::place_command(Tid tid) {
  if (is_shutting_down_) return end_command(tid, failure(OsdErrc::kShutdown, "shutting down"));
  const OsdMapRef& map = targeting_.map();
  Command& command = commands_.at(tid);
  if (map == nullptr || command.is_sent) return;
  const OsdId id = command.osd >= 0 ? command.osd : map->authority;
  const OsdInfo* osd = map->find_osd(id);
  if (osd == nullptr) {
    return end_command(
        tid, failure(OsdErrc::kInvalid, fmt::format("there is no osd.{} in the cluster map", id)));
  }
  if (osd->addresses.empty()) {
    return end_command(
        tid, failure(OsdErrc::kUnreachable, fmt::format("osd.{} has never been up: start it", id)));
  }
  const auto session = sessions_.find(id);
  const bool has_session = session != sessions_.end() && session->second->server() != nullptr;
  command.server = has_session ? session->second->server() : servers_.get(osd->addresses.front());
  if (command.server->last_error() == msgr::MsgrErrc::kAuthFailed && !command.server->is_open()) {
    return lose_commands(*ServerRef(command.server), command.server->last_error());
  }
  if (command.server->hello()) send_commands(ServerRef(command.server));
}

void ObjecterImpl::place_commands() {
  std::vector<Tid> tids;
  for (const auto& [tid, command] : commands_) tids.push_back(tid);
  for (const Tid tid : tids) {
    const auto at = commands_.find(tid);
    if (at == commands_.end()) continue;
    Command& command = at->second;
    if (command.answer && command.epoch <= targeting_.epoch()) {
      end_command(tid, std::move(*command.answer));
    } else {
      place_command(tid);
    }
  }
}

void ObjecterImpl::send_commands(const ServerRef& server) {
  for (auto& [tid, command] : commands_) {
    if (command.is_sent || command.server != server) continue;
    const ConstBytes text = as_const_bytes(command.json);
    server->send_front(MessageType::kCommand, {text.begin(), text.end()}, tid);
    command.is_sent = true;
    counters_.command_send.add();
  }
}

void ObjecterImpl::lose_commands(const ServerConnection& server, std::error_code why) {
  std::vector<Tid> lost;
  for (const auto& [tid, command] : commands_) {
    const bool is_hopeless = command.is_sent || why == msgr::MsgrErrc::kAuthFailed;
    if (command.server.get() == &server && !command.answer && is_hopeless) lost.push_back(tid);
  }
  for (const Tid tid : lost) {
    const Command& command = commands_.at(tid);
    const std::string who = describe_target(command);
    end_command(
        tid, command.is_sent
                 ? failure(OsdErrc::kUnknownOutcome,
                           fmt::format("the connection to {} was lost before it answered "
                                       "({}); look whether it did what was asked",
                                       who, why.message()))
                 : failure(why, fmt::format("{} refused the connection: {}", who, why.message())));
  }
}

void ObjecterImpl::on_command_reply(const ServerRef& server, const msgr::InMessage& message) {
  const auto at = commands_.find(message.meta.tid);
  auto reply = decode_command_reply(message.front);
  if (at == commands_.end() || at->second.server != server || !at->second.is_sent ||
      at->second.answer || !reply) {
    counters_.reply_ignored.add();
    return;
  }
  if (reply->error != OsdErrc::kOk) {
    return end_command(at->first, failure(reply->error, std::move(reply->text)));
  }
  if (reply->epoch <= targeting_.epoch()) return end_command(at->first, std::move(reply->text));
  // What was changed should be seen by whoever asked for it.
  at->second.answer = std::move(reply->text);
  at->second.epoch = reply->epoch;
  maps_.want(reply->epoch, *server);
}

void ObjecterImpl::end_command(Tid tid, Outcome<std::string> result) {
  auto node = commands_.extract(tid);
  Command& command = node.mapped();
  center_.cancel(command.timer);
  counters_.command_active.set(commands_.size());
  command.done(std::move(result));
}

}  // namespace lunar::objecter
