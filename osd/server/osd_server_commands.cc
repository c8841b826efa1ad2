// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"
#include "osd/server/osd_server.h"

namespace lunar::osd {

using objecter::CommandReply;
using objecter::MessageType;
using Json = nlohmann::ordered_json;

namespace {

std::string text_of(const Json& request, const char* name) {
  const auto found = request.find(name);
  return found != request.end() && found->is_string() ? found->get<std::string>() : std::string();
}

// What a server shows of itself; over the admin socket and as a command to it.
constexpr std::pair<const char*, const char*> kShown[] = {
    {"ops in flight", "ops that arrived and have not ended"},
    {"dump_ops_in_flight", "ops that arrived and have not ended"},
    {"dump_historic_ops", "the slowest ops that have ended"},
    {"sessions", "clients of this server"},
    {"unflushed", "images with unflushed or lost writes, damaged objects"},
    {"fences", "starts of clients that may not write any more"},
    {"store usage", "bytes of the store"},
};

}  // namespace

bool OsdServer::may_command(const msgr::Connection& connection) const {
  if (!options_.auth_required) return true;
  const msgr::PeerIdentity& peer = connection.peer();
  return peer.is_authenticated && std::find(options_.admins.begin(), options_.admins.end(),
                                            peer.entity) != options_.admins.end();
}

void OsdServer::on_command(msgr::Connection& connection, const msgr::InMessage& message) {
  // The connection may be gone when the answer is there; its peer entry tells.
  const auto answer = [this, to = &connection, tid = message.meta.tid,
                       id = connection.id()](CommandReply reply) {
    const auto peer = peers_.find(to);
    if (peer == peers_.end() || to->id() != id) return;
    if (reply.text.size() > CommandReply::kMaxTextBytes) {
      reply.error = OsdErrc::kTooLarge;
      reply.text = "the answer is too long for a message; ask the admin socket of that server";
    }
    std::vector<std::byte> front;
    objecter::encode(reply, front);
    send_front(*to, MessageType::kCommandReply, std::move(front), tid);
  };
  if (!may_command(connection)) {
    return answer({OsdErrc::kNotPermitted, 0,
                   fmt::format("{} may not send commands; osd_admin_entities names who may",
                               connection.peer().entity)});
  }
  const std::string request(as_text(message.front));
  LUNAR_LOG(kOsd, 1, "command of {}: {}", connection.peer().entity, command_prefix(request));
  run_command(request, answer);
}

void OsdServer::run_command(const std::string& request, InlineFunction<void(CommandReply)> done) {
  const std::string prefix = command_prefix(request);
  if (prefix == "osd fence" || prefix == "osd unfence")
    return fence_command(request, prefix == "osd fence", std::move(done));
  for (const auto& [name, help] : kShown)
    if (prefix == name) return done(show_command(prefix));
  maps_->command(request, std::move(done));
}

CommandReply OsdServer::show_command(const std::string& prefix) {
  CommandReply reply;
  reply.epoch = maps_->epoch();
  const auto now = std::chrono::steady_clock::now();
  if (prefix == "ops in flight" || prefix == "dump_ops_in_flight")
    reply.text = tracker_.in_flight_json(now);
  else if (prefix == "dump_historic_ops")
    reply.text = tracker_.historic_json(now);
  else if (prefix == "sessions")
    reply.text = sessions_->to_json();
  else if (prefix == "unflushed")
    reply.text = ledger_ ? ledger_->to_json() : "{}";
  else if (prefix == "fences")
    reply.text = fences_->to_json();
  else {
    const ObjectStore::Usage usage = store_.usage();
    reply.text =
        Json({{"total", usage.total}, {"used", usage.used}, {"available", usage.available}})
            .dump(2);
  }
  return reply;
}

void OsdServer::fence_command(const std::string& request, bool fence,
                              InlineFunction<void(CommandReply)> done) {
  const Json json = Json::parse(request, nullptr, false);
  const ClientName client{text_of(json, "entity"), text_of(json, "instance")};
  if (client.entity.empty() || client.instance.empty()) {
    return done({OsdErrc::kInvalid, 0,
                 "name the client by \"entity\" and \"instance\"; `sessions` lists them"});
  }
  // Without a nonce: every start up to now. Nonces grow with time, in whatever unit.
  uint64_t nonce = 0;
  if (const auto given = json.find("nonce"); given != json.end()) {
    if (!given->is_number_unsigned())
      return done({OsdErrc::kInvalid, 0, "\"nonce\" must be a number"});
    nonce = given->get<uint64_t>();
  } else {
    nonce = std::max(sessions_->newest_nonce(client), fences_->newest_nonce(client));
  }
  using Finish = InlineFunction<void(CommandReply)>;
  const auto finish = std::make_shared<Finish>(std::move(done));
  const auto answer = [this, finish](std::error_code error) {
    if (!error) return (*finish)({OsdErrc::kOk, maps_->epoch(), fences_->to_json()});
    (*finish)({wire_error(error), 0, "the fence cannot be recorded: " + error.message()});
  };
  if (!fence) return fences_->unfence(client, answer);
  // Durable first; then nothing of the client may still be inside the store.
  fences_->fence(client, nonce,
                 [this, answer, who = std::make_shared<const ClientName>(client),
                  nonce](std::error_code error) {
                   if (error) return answer(error);
                   sessions_->fence(*who, nonce, [answer] { answer({}); });
                 });
}

void OsdServer::add_admin_commands(AdminSocket& socket) {
  const auto add = [&](const std::string& prefix, const std::string& help) {
    admin_commands_.push_back(
        socket.add(prefix, help, [this](const AdminRequest& request, AdminReply reply) {
          Json json = {{"prefix", request.prefix}};
          for (const auto& [name, value] : request.arguments) json[name] = value;
          auto text = std::make_unique<std::string>(
              json.dump(-1, ' ', false, Json::error_handler_t::replace));
          center_.post([this, text = std::move(text),
                        to = std::make_unique<AdminReply>(std::move(reply))]() mutable {
            run_command(*text, [to = std::move(to)](CommandReply answer) {
              if (answer.error == OsdErrc::kOk)
                to->send(std::move(answer.text));
              else
                to->fail(make_error_code(answer.error), std::move(answer.text));
            });
          });
        }));
  };
  for (const auto& [name, help] : kShown) add(name, help);
  add("osd fence", "keep a client (entity=, instance=) from writing here");
  add("osd unfence", "let it write again");
  add("status", "the cluster, as the map authority sees it");
}

}  // namespace lunar::osd
