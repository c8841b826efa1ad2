// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/command_service.h"

#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/config.h"
#include "common/host.h"
#include "common/json.h"
#include "common/log.h"
#include "common/log_limited.h"
#include "common/peer_name.h"
#include "msgr/awaiters.h"
#include "objecter/cluster/text_message.h"
#include "objecter/protocol/watch.h"
#include "osd/map/command_arguments.h"
#include "osd/map/pool_commands.h"

namespace lunar::osd {

using objecter::CommandReply;
using objecter::MessageType;
using Json = nlohmann::ordered_json;

namespace {

// What a server shows of itself; over the admin socket and as a command to it.
constexpr std::pair<const char*, const char*> kShown[] = {
    {"ops in flight", "the ops that have arrived and have not ended"},
    {"dump_ops_in_flight", "the ops that have arrived and have not ended"},
    {"dump_historic_ops", "the slowest ops that have ended"},
    {"dump_watchers", "who watches which objects"},
    {"sessions", "the clients that this server knows"},
    {"unflushed", "the images with unflushed or lost writes, and the damaged objects"},
    {"fences", "fenced starts of clients; entity= and instance= select one client"},
    {"store usage",
     "the size of the store and how much of it is used, in bytes; ok, nearfull or full"},
};

bool is_shown(std::string_view prefix) {
  return std::any_of(std::begin(kShown), std::end(kShown),
                     [prefix](const auto& each) { return prefix == each.first; });
}

// Below this much room a server is full: some write of an initiator finds none.
constexpr uint64_t kFullBytes = 1 << 20;

// Ceph's words for it.
const char* fullness(const StoreSpace::Usage& usage, double nearfull_ratio) {
  if (usage.total > 0 && usage.available < kFullBytes) return "full";
  const auto nearfull = static_cast<double>(usage.total) * nearfull_ratio;
  return usage.total > 0 && static_cast<double>(usage.used) >= nearfull ? "nearfull" : "ok";
}

// An answer that is sent to whoever has not read the ones before it, too: a command that has
// changed something says so.
constexpr std::size_t kMaxUncountedAnswer = 4096;

bool is_fencing(std::string_view prefix) {
  return prefix == "osd fence" || prefix == "osd unfence";
}

// Whether a command that succeeds has changed something.
bool changes(std::string_view prefix) {
  return is_fencing(prefix) ||
         (!is_shown(prefix) && kind_of_map_command(prefix) == MapCommandKind::kChanges);
}

// Bytes of a command of somebody who is no admin: nothing longer is even parsed.
constexpr std::size_t kMaxForeignCommand = 4096;

// Null for what is no JSON within bounds: it has no arguments.
Json parse_command(std::string_view text) {
  return parse_json_or_null<Json>(text, objecter::kAnswerBounds);
}

// The client that a command names by "entity" and "instance".
Outcome<ClientName> client_of(const Json& arguments) {
  ClientName client{text_of(arguments, "entity"), text_of(arguments, "instance")};
  if (!client.is_valid())
    return failure(OsdErrc::kInvalid,
                   "name the client by \"entity\" and \"instance\", of at most 129 and 256 graphic "
                   "characters; `sessions` lists them");
  return client;
}

CommandReply refusal(OsdErrc error, std::string sentence) {
  return {error, 0, std::move(sentence)};
}

std::string unread_text(const msgr::Connection& connection) {
  return fmt::format(
      "{} has not read what it was answered before: osd_client_reply_bytes is the limit",
      connection.peer().entity);
}

// Instead of an answer that cannot be sent: what is done is not to be taken for refused, and done
// again.
CommandReply cut_short(const CommandReply& whole, bool has_changes, OsdErrc error,
                       const std::string& why) {
  if (!has_changes || whole.error != OsdErrc::kOk) return refusal(error, why);
  return {OsdErrc::kOk, whole.epoch, Json({{"status", "done"}, {"answer_left_out", why}}).dump(2)};
}

}  // namespace

// --- messages ---

bool CommandService::may_command(const msgr::Connection& connection,
                                 const std::string& text) const {
  const msgr::PeerIdentity& peer = connection.peer();
  const Permissions& permissions = with_.access.permissions_of(peer, with_.maps.map());
  if (permissions.is_admin()) return true;
  if (text.size() > kMaxForeignCommand) return false;
  const std::string prefix = command_prefix(text);
  if (permissions.may_show() &&
      (is_shown(prefix) || kind_of_map_command(prefix) == MapCommandKind::kShows))
    return true;
  if (is_fencing(prefix) && permissions.may_fence()) return true;
  // A gateway asks which of its starts servers know, and takes an image over from another one with
  // the same key, which it could fence in any case, by a start of its instance. Who may not write
  // has nothing to take over.
  const bool is_takeover = prefix == "osd fence" && permissions.may_take_over();
  if ((!is_takeover && prefix != "fences") || !peer.is_authenticated) return false;
  const auto client = client_of(parse_command(text));
  return client && client->entity == peer.entity;
}

void CommandService::send(msgr::Connection& to, uint64_t tid, CommandReply reply,
                          bool has_changes) const {
  const std::size_t longest =
      std::min<std::size_t>(objecter::kMaxCommandText, with_.options.limits.max_reply_bytes);
  if (reply.text.size() > longest)
    reply = cut_short(reply, has_changes, OsdErrc::kTooLarge,
                      fmt::format("the answer has {} bytes, and a message takes at most {}: ask "
                                  "the server's admin socket, or for less",
                                  reply.text.size(), longest));
  msgr::FairShares::Held share = with_.ops.hold_reply(to, reply.text.size());
  if (!share && reply.text.size() > kMaxUncountedAnswer)
    reply = cut_short(reply, has_changes, OsdErrc::kBusy, unread_text(to));
  std::string long_text;
  if (reply.text.size() > CommandReply::kMaxTextBytes) std::swap(long_text, reply.text);
  std::vector<std::byte> front;
  objecter::encode(reply, front);
  to.send(std::make_unique<objecter::TextMessage>(MessageType::kCommandReply, tid, std::move(front),
                                                  std::move(long_text), std::move(share)));
}

void CommandService::on_command(msgr::Connection& connection, const msgr::InMessage& message) {
  const uint64_t tid = message.meta.tid;
  const auto refuse = [&](OsdErrc error, std::string sentence) {
    send(connection, tid, refusal(error, std::move(sentence)), false);
  };
  if (!with_.ops.hold_reply(connection, 1)) return refuse(OsdErrc::kBusy, unread_text(connection));
  const auto command = objecter::decode_command(message.front, message.data);
  if (!command)
    return refuse(OsdErrc::kInvalid,
                  fmt::format("a command has at most {} bytes, in the front or the data of its "
                              "message",
                              objecter::kMaxCommandText));
  const std::string text(*command);
  if (!may_command(connection, text))
    return refuse(OsdErrc::kNotPermitted,
                  fmt::format("{} is not permitted to send this command: 'allow x' permits those "
                              "that show the cluster and fence, 'allow *' all of them (`lunar auth "
                              "caps`, or osd_admin_entities)",
                              connection.peer().entity));
  const std::string prefix = command_prefix(text);
  LUNAR_LOG_LIMITED(kOsd, 1, "command of {}: {}", connection.peer().entity, printable_text(prefix));
  run(text, [this, to = connection.weak_from_this(), tid,
             has_changes = changes(prefix)](CommandReply reply) {
    const msgr::ConnectionRef open = to.lock();
    if (open && open->is_open()) send(*open, tid, std::move(reply), has_changes);
  });
}

void CommandService::add_admin_commands(AdminSocket& socket) {
  const auto add = [&](const std::string& prefix, const std::string& help) {
    admin_commands_.push_back(
        socket.add(prefix, help, [this](const AdminRequest& asked, AdminReply reply) {
          Json json = {{"prefix", asked.prefix}};
          for (const auto& [name, value] : asked.arguments) json[name] = value;
          std::string text = json.dump(-1, ' ', false, Json::error_handler_t::replace);
          with_.center.post([this, text = std::move(text), to = std::move(reply)]() mutable {
            run(text, [to = std::move(to)](CommandReply answer) mutable {
              if (answer.error == OsdErrc::kOk)
                to.send(std::move(answer.text));
              else
                to.fail(make_error_code(answer.error), answer.text);
            });
          });
        }));
  };
  for (const auto& [name, help] : kShown) add(name, help);
  add("osd fence", "keep a client (entity=, instance=), or all of an entity=, from writing here");
  add("osd unfence", "let a client (entity=, instance=), or all of an entity=, write here again");
  add("status", "the cluster, by the map of this server; refused while the server does not serve");
}

// --- commands ---

void CommandService::run(const std::string& text, Done done) {
  const std::string prefix = command_prefix(text);
  if (is_fencing(prefix)) return run_fencing(prefix == "osd fence", text, std::move(done));
  if (is_shown(prefix)) return done(show(prefix, parse_command(text)));
  run_on_map(text, std::move(done));
}

// Before there is a pool in RADOS its place is looked at: a word that was mistyped is said now.
void CommandService::run_on_map(const std::string& text, Done done) {
  if (!with_.maps.is_authority()) return with_.maps.command(text, std::move(done));
  const auto pool = rados_pool_asked_for(*with_.maps.map(), text);
  if (!pool) return with_.maps.command(text, std::move(done));
  with_.pools.check_new_pool(*pool,
                             [this, text, done = std::move(done)](Outcome<void> usable) mutable {
                               if (usable) return with_.maps.command(text, std::move(done));
                               done(refusal(OsdErrc::kInvalid, usable.error().message));
                             });
}

void CommandService::run_fencing(bool is_fence, const std::string& text, Done done) {
  if (is_stopping_) return done(refusal(OsdErrc::kShutdown, "this server is shutting down"));
  const Json arguments = parse_command(text);
  if (arguments.contains("instance")) {
    if (is_fence)
      fence(text, std::move(done));
    else
      unfence(text, std::move(done));
    return;
  }
  const std::string entity = text_of(arguments, "entity");
  if (!is_entity_text(entity) || arguments.contains("nonce") || arguments.contains("for"))
    return done(refusal(OsdErrc::kInvalid,
                        "name a client by \"entity\" and \"instance\", or all clients of an "
                        "\"entity\" by that alone; `sessions` lists them"));
  if (is_fence && !EntityName::parse(entity))
    return done(refusal(OsdErrc::kInvalid, fmt::format("'{}' is no entity, as client.admin is one: "
                                                       "`sessions` lists those that are here",
                                                       entity)));
  if (is_fence)
    fence_entity(entity, std::move(done));
  else
    unfence_entity(entity, std::move(done));
}

CommandReply CommandService::show(std::string_view prefix, const Json& arguments) const {
  CommandReply reply;
  reply.epoch = with_.maps.epoch();
  const auto now = monotonic_now();
  if (prefix == "ops in flight" || prefix == "dump_ops_in_flight")
    reply.text = with_.ops.tracker().in_flight_json(now);
  else if (prefix == "dump_historic_ops")
    reply.text = with_.ops.tracker().historic_json(now);
  else if (prefix == "sessions")
    reply.text = with_.ops.sessions().to_json();
  else if (prefix == "dump_watchers")
    reply.text = with_.ops.watches().to_json();
  else if (prefix == "unflushed")
    reply.text = ledger_ != nullptr ? ledger_->to_json() : "{}";
  else if (prefix == "fences")
    reply.text = with_.fences.to_json(text_of(arguments, "entity"), text_of(arguments, "instance"));
  else {
    const StoreSpace::Usage usage = with_.store.usage();
    reply.text = Json({{"total", usage.total},
                       {"used", usage.used},
                       {"available", usage.available},
                       {"state", fullness(usage, with_.options.nearfull_ratio)}})
                     .dump(2);
  }
  return reply;
}

Detached CommandService::fence(std::string text, Done done) {
  const Json json = parse_command(text);
  const Outcome<ClientName> client = client_of(json);
  if (!client) {
    done(refusal(OsdErrc::kInvalid, client.error().message));
    co_return;
  }
  // Without a nonce: every start up to now. Nonces grow with time, in whatever unit.
  const auto given = json.find("nonce");
  if (given != json.end() &&
      (!given->is_number_unsigned() || given->get<uint64_t>() >= objecter::kNoNonce)) {
    done(refusal(OsdErrc::kInvalid, "\"nonce\" must be a number below 2^63"));
    co_return;
  }
  const uint64_t nonce = given != json.end() ? given->get<uint64_t>() : newest_nonce(*client);
  const std::string reason = text_of(json, "for");
  if (!reason.empty() && reason != "takeover") {
    done(refusal(OsdErrc::kInvalid, "\"for\" can be \"takeover\" only"));
    co_return;
  }

  // Durable first; then nothing of the client may still be inside the store.
  msgr::Completion<std::error_code> recorded;
  if (reason.empty())
    with_.fences.fence(*client, nonce, recorded.callback());
  else
    with_.fences.replace(*client, nonce, recorded.callback());
  const std::error_code unrecorded = co_await recorded;
  if (unrecorded) {
    with_.ops.sessions().unfence(*client);  // who came meanwhile was fenced
    done(fence_reply(unrecorded, *client));
    co_return;
  }
  msgr::Completion<bool> ended;
  with_.ops.sessions().fence(*client, nonce, ended.callback());
  const bool is_fenced = co_await ended;
  if (is_fenced)
    done(fence_reply({}, *client));
  else
    done(refusal(OsdErrc::kCancelled, "`osd unfence` has lifted the fence meanwhile"));
}

Detached CommandService::unfence(std::string text, Done done) {
  const Outcome<ClientName> client = client_of(parse_command(text));
  if (!client) {
    done(refusal(OsdErrc::kInvalid, client.error().message));
    co_return;
  }
  msgr::Completion<std::error_code> recorded;
  with_.fences.unfence(*client, recorded.callback());
  const std::error_code unrecorded = co_await recorded;
  if (unrecorded) {
    done(fence_reply(unrecorded, *client));
    co_return;
  }
  with_.ops.sessions().unfence(*client);
  if (with_.fences.is_entity_fenced(client->entity)) {
    done(refusal(OsdErrc::kFenced, fmt::format("all clients of {0} are fenced: let them in with "
                                               "`lunar osd unfence {0} --all`",
                                               client->entity)));
    co_return;
  }
  const uint64_t replaced = with_.fences.replaced_up_to(*client);
  if (replaced == 0 || newest_nonce(*client) > replaced)
    done(fence_reply({}, *client));
  else
    done(refusal(OsdErrc::kFenced, fmt::format("{} start {} stays fenced: an image was taken over "
                                               "from it; restart that gateway",
                                               client->to_string(), replaced)));
}

// As fence(), of all clients of the entity.
Detached CommandService::fence_entity(std::string entity, Done done) {
  msgr::Completion<std::error_code> recorded;
  with_.fences.fence_entity(entity, recorded.callback());
  const std::error_code unrecorded = co_await recorded;
  if (unrecorded) {
    let_in(entity);  // who came meanwhile was fenced
    done(unrecorded == OsdErrc::kBusy
             ? refusal(OsdErrc::kBusy, fmt::format("{} entities are fenced at this server already: "
                                                   "let some in with `lunar osd unfence ENTITY "
                                                   "--all`",
                                                   FenceTable::kMaxFencedEntities))
             : fence_reply(unrecorded, {entity, {}}));
    co_return;
  }
  msgr::Completion<bool> ended;
  with_.ops.sessions().fence_entity(entity, ended.callback());
  co_await ended;
  if (with_.fences.is_entity_fenced(entity))
    done(fence_reply({}, {entity, {}}));
  else
    done(refusal(OsdErrc::kCancelled, "`osd unfence` has lifted the fence meanwhile"));
}

Detached CommandService::unfence_entity(std::string entity, Done done) {
  msgr::Completion<std::error_code> recorded;
  with_.fences.unfence_entity(entity, recorded.callback());
  const std::error_code unrecorded = co_await recorded;
  if (!unrecorded) let_in(entity);
  done(fence_reply(unrecorded, {entity, {}}));
}

// Serves the clients of the entity that the fence table allows.
void CommandService::let_in(const std::string& entity) {
  for (const ClientName& client : with_.ops.sessions().clients_of(entity))
    with_.ops.sessions().unfence(client);
}

uint64_t CommandService::newest_nonce(const ClientName& client) const {
  return std::max(with_.ops.sessions().newest_nonce(client), with_.fences.newest_nonce(client));
}

CommandReply CommandService::fence_reply(std::error_code error, const ClientName& client) const {
  if (!error)
    return {OsdErrc::kOk, with_.maps.epoch(), with_.fences.to_json(client.entity, client.instance)};
  if (error == OsdErrc::kBusy)
    return refusal(
        OsdErrc::kBusy,
        fmt::format("there are {} fences of {} at this server already, or {} in all: "
                    "lift some with `osd unfence`",
                    FenceTable::kMaxFencesOfEntity, client.entity, FenceTable::kMaxFences));
  return refusal(wire_error(error), "the fence cannot be recorded: " + error.message());
}

}  // namespace lunar::osd
