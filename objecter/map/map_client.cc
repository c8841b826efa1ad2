// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/map/map_client.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/log.h"
#include "common/size_parse.h"
#include "msgr/errors.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {

MapClient::MapClient(msgr::EventCenter& center, ServerTable& servers, ObjecterCounters& counters,
                     MapEvents& events, std::vector<msgr::Address> bootstrap, std::string entity,
                     std::optional<OsdId> authority)
    : center_(center),
      servers_(servers),
      counters_(counters),
      events_(events),
      bootstrap_(std::move(bootstrap)),
      entity_(std::move(entity)),
      hunt_(center, servers, *this, {kStagger, kRotate, kMaxHunted}),
      authority_search_(center, servers, bootstrap_, authority,
                        [this](ServerConnection& server) { subscribe(server); }) {}

MapClient::~MapClient() { stop(); }

void MapClient::stop() {
  is_stopped_ = true;
  center_.cancel(std::exchange(ask_timer_, msgr::TimerId::kNone));
  center_.cancel(std::exchange(grace_timer_, msgr::TimerId::kNone));
  hunt_.stop();
  authority_search_.stop();
  asked_server_.reset();
}

// --- whom to ask ---

// Servers that are up first, the authority before all.
std::vector<msgr::Address> MapClient::candidates() const {
  std::vector<msgr::Address> all;
  const auto add = [&](const msgr::Address& address) {
    if (std::find(all.begin(), all.end(), address) == all.end()) all.push_back(address);
  };
  if (map_ != nullptr) {
    const OsdInfo* authority = map_->find_osd(map_->authority);
    if (authority != nullptr && authority->up) add(authority->addresses.front());
    for (const bool is_up : {true, false}) {
      for (const OsdInfo& osd : map_->osds) {
        if (osd.up != is_up) continue;
        for (const msgr::Address& address : osd.addresses) add(address);
      }
    }
  }
  for (const msgr::Address& address : bootstrap_) add(address);
  return all;
}

// The epoch of a map that nobody has proven says nothing: then any map is wanted.
void MapClient::subscribe(ServerConnection& server) {
  server.send(MessageType::kMapSubscribe, MapSubscribe{is_proven_ ? epoch() : 0});
}

void MapClient::choose(const ServerRef& server) {
  if (hunt_.source() != nullptr) return;
  hunt_.choose(server);
  if (hunt_.source() == nullptr) return;  // it was not being asked
  LUNAR_LOG(kMap, 1, "osd.{} at {} keeps us up to date with the cluster map",
            server->hello() ? server->hello()->osd : -1, server->address().to_string());
}

void MapClient::want(Epoch epoch, ServerConnection& server) {
  if (epoch <= this->epoch() || epoch <= wanted_) return;
  wanted_ = epoch;
  const ServerRef& authority = authority_search_.found();
  subscribe(authority != nullptr ? *authority : server);
}

// --- what servers say ---

bool MapClient::accepts(const ServerConnection& server, const ServerHello& hello) const {
  if (!is_proven_ || hello.fsid == map_->fsid) return true;
  LUNAR_ERROR(kMap, "{} belongs to another cluster ({}, not {})", server.address().to_string(),
              hello.fsid.to_string(), map_->fsid.to_string());
  return false;
}

void MapClient::on_hello(const ServerRef& server) {
  if (hunt_.holds(*server) || authority_search_.holds(*server)) {
    subscribe(*server);
  } else {
    want(server->hello()->epoch, *server);
  }
  if (is_asking_ && server == asked_server_) subscribe(*server);
}

void MapClient::on_map(const ServerRef& server, ConstBytes front) {
  Outcome<OsdMap> decoded = decode_osd_map(front);
  if (!decoded) {
    refused_ = fmt::format("{} sent a map that cannot be used: {}", server->address().to_string(),
                           decoded.error().message);
    LUNAR_ERROR(kMap, "{}", refused_);
    return;
  }
  if (is_proven_ && decoded->fsid != map_->fsid) {
    LUNAR_ERROR(kMap, "{} sent the map of another cluster ({})", server->address().to_string(),
                decoded->fsid.to_string());
    return;
  }
  counters_.map_full.add();
  if (!takes(server, *decoded)) return hear(server, std::move(*decoded));
  choose(server);
  if (!is_proven_ || decoded->epoch > epoch()) {
    is_proven_ = true;
    LUNAR_LOG(kMap, 1, "cluster map {} from {}", decoded->epoch, server->address().to_string());
    publish(std::make_shared<const OsdMap>(std::move(*decoded)));
  }
  on_answer(*server);
}

// Whether the map is the authority's, or nobody proves anything here.
bool MapClient::takes(const ServerRef& server, const OsdMap& map) {
  if (!server->connection().peer().is_authenticated) return true;
  if (!authority_search_.is_authority(*server, map)) return false;
  authority_search_.follow(is_proven_ ? map_ : std::make_shared<const OsdMap>(map), true);
  authority_search_.on_answer(server);
  return true;
}

// A map that the authority might have made, of a server that is not the authority.
void MapClient::hear(const ServerRef& server, OsdMap map) {
  if (is_proven_) {
    choose(server);  // the authority's own word comes by the search
    if (map.epoch <= epoch()) return on_answer(*server);
    authority_search_.hear(std::make_shared<const OsdMap>(std::move(map)));
    return;
  }
  if (!authority_search_.may_be_ours(map)) {
    refused_ = fmt::format("{} sent a map whose authority is osd.{}, which map_authority is not",
                           server->address().to_string(), map.authority);
    LUNAR_ERROR(kMap, "{}", refused_);
    return;
  }
  choose(server);
  const auto heard = std::make_shared<const OsdMap>(std::move(map));
  authority_search_.follow(heard, false);
  const bool is_grace_over = map_ != nullptr;
  if (is_grace_over && heard->epoch > epoch()) publish(heard);
  if (is_grace_over) return on_answer(*server);
  hearsay_ = heard;
  if (grace_timer_ == msgr::TimerId::kNone)
    grace_timer_ = center_.run_after(kAuthorityGrace, [this] { end_grace(); });
}

void MapClient::end_grace() {
  grace_timer_ = msgr::TimerId::kNone;
  const OsdMapRef heard = std::exchange(hearsay_, nullptr);
  LUNAR_LOG(kMap, 0,
            "osd.{}, the map authority, does not answer: cluster map {} of another server is used "
            "until it does",
            heard->authority, heard->epoch);
  publish(heard);
}

void MapClient::publish(OsdMapRef map) {
  center_.cancel(std::exchange(grace_timer_, msgr::TimerId::kNone));
  hearsay_.reset();
  LUNAR_TRACE(lunar_objecter, map_received, map->epoch);
  map_ = std::move(map);
  if (authority_search_.is_on()) authority_search_.follow(map_, is_proven_);
  counters_.map_epoch.set(map_->epoch);
  events_.on_new_map(map_);
}

void MapClient::on_current(const ServerRef& server, Epoch epoch) {
  if (map_ == nullptr) {
    // A map that was refused says more.
    if (refused_.empty()) refused_ = server->address().to_string() + " has no cluster map yet";
    return;
  }
  if (epoch > this->epoch()) return;  // it will send it
  choose(server);
  if (is_proven_ && authority_search_.is_authority(*server, *map_))
    authority_search_.on_answer(server);
  on_answer(*server);
}

void MapClient::on_lost(ServerConnection& server) {
  wanted_ = 0;  // whoever was asked might not answer
  authority_search_.on_lost(server);
  if (hunt_.source().get() != &server) return;
  LUNAR_LOG(kMap, 1, "{} is gone, looking for another server to get maps from",
            server.address().to_string());
  hunt_.drop_source();
}

// --- is there a newer one? ---

ServerRef MapClient::authority() {
  if (authority_search_.found() != nullptr) return authority_search_.found();
  const OsdInfo* osd = map_ == nullptr ? nullptr : map_->find_osd(map_->authority);
  if (osd == nullptr || !osd->up) return hunt_.source();
  return servers_.get(osd->addresses.front());
}

uint64_t MapClient::ask_newest() {
  if (is_asking_) {
    wants_to_ask_again_ = true;
    return asked_ + 1;
  }
  is_asking_ = true;
  is_source_next_ = false;
  ++asked_;
  send_question();
  return asked_;
}

void MapClient::send_question() {
  center_.cancel(std::exchange(ask_timer_, msgr::TimerId::kNone));
  if (is_stopped_) return;
  const bool asks_source = is_source_next_ && hunt_.source() != nullptr;
  asked_server_ = asks_source ? hunt_.source() : authority();
  is_source_next_ = !is_source_next_;
  ask_timer_ = center_.run_after(kAskAgain, [this] {
    ask_timer_ = msgr::TimerId::kNone;
    send_question();
  });
  if (asked_server_ != nullptr && asked_server_->hello()) subscribe(*asked_server_);
}

void MapClient::on_answer(const ServerConnection& server) {
  if (!is_asking_ || asked_server_.get() != &server) return;
  center_.cancel(std::exchange(ask_timer_, msgr::TimerId::kNone));
  is_asking_ = false;
  asked_server_.reset();
  const uint64_t ticket = asked_;
  if (std::exchange(wants_to_ask_again_, false)) ask_newest();
  events_.on_newest_confirmed(ticket);
}

Error MapClient::explain_no_map(std::chrono::nanoseconds waited) const {
  std::string tried;
  bool is_key_refused = false;
  bool has_mismatch = false;
  for (const msgr::Address& address : bootstrap_) {
    std::string what = "no answer";
    servers_.for_each([&](const ServerConnection& server) {
      if (server.address() != address) return;
      if (server.hello()) what = "connected, but it has no map";
      if (server.last_error()) what = server.last_error().message();
      is_key_refused |= server.last_error() == msgr::MsgrErrc::kAuthFailed;
      has_mismatch |= server.last_error() == msgr::MsgrErrc::kFeatureMismatch;
    });
    tried += fmt::format("{}{} ({})", tried.empty() ? "" : ", ", address.to_string(), what);
  }
  if (is_key_refused) {
    return {make_error_code(msgr::MsgrErrc::kAuthFailed),
            fmt::format("the servers do not accept {}: tried {}; its key in the keyring must be "
                        "the one they have",
                        entity_, tried)};
  }
  if (has_mismatch) {
    return {
        make_error_code(msgr::MsgrErrc::kFeatureMismatch),
        fmt::format("the servers do not talk to this program: tried {}; ms_client_mode here "
                    "must have a mode in common with ms_service_mode there (secure, which takes "
                    "a key, if servers take nothing else), or one side is of another version: "
                    "upgrade it",
                    tried)};
  }
  return {make_error_code(OsdErrc::kUnreachable),
          fmt::format("no object server gave a cluster map within {}: tried {}{}{}; is lunar-osd "
                      "running there, and is mon_host right?",
                      format_duration(waited), tried, refused_.empty() ? "" : "; ", refused_)};
}

}  // namespace lunar::objecter
