// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/client_session.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"

// Life of a session: open, fenced, dropped. Its ops are in client_session_ops.cc.

namespace lunar::osd {

ClientSessions::ClientSessions(SessionHost& host, FenceTable& fences, Options options)
    : host_(host), fences_(fences), options_(options) {}

ClientSessions::~ClientSessions() = default;

ClientSessions::Session* ClientSessions::find(SessionId id) {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : &found->second;
}

bool ClientSessions::remembers(const msgr::PeerIdentity& peer) const {
  const auto family = families_.find(ClientName{peer.entity, peer.instance});
  if (family == families_.end()) return false;
  return std::any_of(family->second.begin(), family->second.end(), [&](SessionId id) {
    const Session& session = sessions_.at(id);
    return session.nonce == peer.nonce &&
           (session.state == State::kOpen || session.state == State::kWaiting);
  });
}

ClientSessions::SessionId ClientSessions::open(msgr::Connection& connection) {
  const msgr::PeerIdentity& peer = connection.peer();
  const ClientName name{peer.entity, peer.instance};
  Family& family = families_[name];
  for (const SessionId id : family) {
    Session& known = sessions_.at(id);
    if (known.nonce != peer.nonce) continue;
    known.connections.push_back(&connection);
    forget_deliveries(known);
    return id;
  }
  const SessionId id = next_id_++;
  Session& session = sessions_[id];
  session.id = id;
  session.client = std::make_shared<const ClientName>(name);
  session.nonce = peer.nonce;
  session.connections.push_back(&connection);
  bool newest = fences_.allows(name, peer.nonce);
  for (const SessionId other : family) newest &= sessions_.at(other).nonce < peer.nonce;
  family.push_back(id);
  if (!newest) {
    LUNAR_LOG(kOsd, 0, "{} start {} is fenced: a newer one was seen, or an operator fenced it",
              name.to_string(), peer.nonce);
    session.state = State::kFenced;
  } else if (sessions_.size() > options_.max_sessions) {
    LUNAR_LOG(kOsd, 0, "{} is refused: {} client sessions are open", name.to_string(),
              sessions_.size() - 1);
    session.state = State::kRefused;
  } else {
    fence_older(session);
    open_if_alone(session);
  }
  return id;
}

void ClientSessions::heard(Session& session, msgr::Connection& connection) {
  auto& all = session.connections;
  if (session.connection() == &connection) return;
  const auto at = std::find(all.begin(), all.end(), &connection);
  LUNAR_CHECK(at != all.end(), "a message of a connection that is not open");
  std::rotate(at, at + 1, all.end());
  forget_deliveries(session);
}

// What another connection delivered or lost is not known any more.
void ClientSessions::forget_deliveries(Session& session) {
  for (const Tid tid : std::exchange(session.delivered, {})) {
    const auto entry = session.entries.find(tid);
    if (entry != session.entries.end()) entry->second.delivered = false;
  }
}

void ClientSessions::fence_older(Session& session) {
  const Family family = families_.at(*session.client);
  for (const SessionId other : family) {
    if (other == session.id) continue;
    Session& older = sessions_.at(other);
    if (older.state != State::kFenced) {
      LUNAR_LOG(kOsd, 0, "{} start {} fences start {}", session.client->to_string(), session.nonce,
                older.nonce);
      fence(older);
    }
  }
}

void ClientSessions::fence(Session& session) {
  session.state = State::kFenced;
  session.held.clear();
  for (auto at = session.entries.begin(); at != session.entries.end();) {
    const auto here = at++;
    Entry& entry = here->second;
    if (entry.executing) {
      if (!host_.take_back(entry.op)) {
        entry.op->is_given_up = true;
        continue;  // inside the store: waited for
      }
      entry.executing = false;
      --session.executing;
    }
    if (entry.op) reject(session, *entry.op, OsdErrc::kFenced);
    forget(session, here);
  }
}

uint64_t ClientSessions::newest_nonce(const ClientName& client) const {
  uint64_t newest = 0;
  const auto family = families_.find(client);
  if (family == families_.end()) return newest;
  for (const SessionId id : family->second) newest = std::max(newest, sessions_.at(id).nonce);
  return newest;
}

void ClientSessions::fence(const ClientName& client, uint64_t nonce, InlineFunction<void()> done) {
  const auto family = families_.find(client);
  if (family != families_.end()) {
    for (const SessionId id : Family(family->second)) {
      Session& session = sessions_.at(id);
      if (session.nonce <= nonce && session.state != State::kFenced) fence(session);
    }
  }
  if (!executes(client, nonce)) return done();
  fence_waiters_.push_back({client, nonce, std::move(done)});
}

bool ClientSessions::executes(const ClientName& client, uint64_t up_to_nonce) const {
  const auto family = families_.find(client);
  if (family == families_.end()) return false;
  return std::any_of(family->second.begin(), family->second.end(), [&](SessionId id) {
    const Session& session = sessions_.at(id);
    return session.nonce <= up_to_nonce && session.executing > 0;
  });
}

void ClientSessions::open_if_alone(Session& session) {
  if (session.state != State::kWaiting) return;
  for (const SessionId other : families_.at(*session.client))
    if (other != session.id && sessions_.at(other).executing > 0) return;
  session.state = State::kOpen;
  release_held(session.id);
}

// An op of the session has ended or was taken back.
void ClientSessions::settle(Session& session) {
  if (session.state != State::kFenced || session.executing > 0) return;
  const Family family = families_.at(*session.client);
  const SessionId id = session.id;
  const bool gone = session.connections.empty();
  for (const SessionId other : family)
    if (Session* waiting = find(other)) open_if_alone(*waiting);
  if (gone) drop(id);
  for (std::size_t i = 0; i < fence_waiters_.size();) {
    if (executes(fence_waiters_[i].client, fence_waiters_[i].nonce)) {
      ++i;
      continue;
    }
    auto done = std::move(fence_waiters_[i].done);
    fence_waiters_.erase(fence_waiters_.begin() + static_cast<std::ptrdiff_t>(i));
    done();
  }
}

void ClientSessions::close(msgr::Connection& connection, SessionId id, Clock::time_point now) {
  Session* session = find(id);
  if (session == nullptr) return;
  if (session->connection() == &connection) forget_deliveries(*session);
  if (std::erase(session->connections, &connection) == 0 || !session->connections.empty()) return;
  session->closed = now;
  // Nobody waits for what has not begun; the client sends it again if it comes back.
  for (const Tid tid : std::exchange(session->held, {})) {
    const auto entry = session->entries.find(tid);
    if (entry != session->entries.end()) forget(*session, entry);
  }
  const bool served = session->state == State::kOpen || session->state == State::kWaiting;
  if (!served && session->executing == 0) drop(id);
}

void ClientSessions::expire(Clock::time_point now) {
  std::vector<SessionId> old;
  for (const auto& [id, session] : sessions_) {
    if (session.connections.empty() && session.executing == 0 && !session.claiming &&
        now - session.closed >= options_.timeout)
      old.push_back(id);
  }
  for (const SessionId id : old) drop(id);
}

void ClientSessions::drop(SessionId id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const auto family = families_.find(*found->second.client);
  std::erase(family->second, id);
  if (family->second.empty()) families_.erase(family);
  sessions_.erase(found);
}

std::string ClientSessions::to_json() const {
  using Json = nlohmann::ordered_json;
  static constexpr const char* kStates[] = {"waiting", "open", "fenced", "refused"};
  Json out = Json::array();
  for (const auto& [id, session] : sessions_) {
    out.push_back({{"entity", session.client->entity},
                   {"instance", session.client->instance},
                   {"nonce", session.nonce},
                   {"state", kStates[static_cast<std::size_t>(session.state)]},
                   {"connected", !session.connections.empty()},
                   {"executing", session.executing},
                   {"held", session.held.size()},
                   {"results", session.results},
                   {"result_bytes", session.result_bytes},
                   {"oldest_tid", session.oldest}});
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
