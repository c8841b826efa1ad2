// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/client_sessions.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/log_limited.h"

namespace lunar::osd {

using State = ClientSession::State;

namespace {
// Bytes that each session may read, and have remembered, in any case.
constexpr uint64_t kSmallReplies = 64u << 10;
constexpr uint64_t kFewResults = 16u << 10;
constexpr uint64_t kFewHeld = 16;  // ops
}  // namespace

ClientSessions::ClientSessions(ClientSessionsHost& host, FenceTable& fences, Options options)
    : host_(host),
      fences_(fences),
      options_(options),
      replies_{std::make_shared<msgr::FairShares>(msgr::FairShares::Limits{
                   options.reply_bytes * 3, options.reply_bytes, kSmallReplies}),
               std::make_shared<msgr::FairShares>(msgr::FairShares::Limits{
                   options.result_bytes, options.limits.max_result_bytes, kFewResults}),
               std::make_shared<msgr::FairShares>(msgr::FairShares::Limits{
                   options.max_held, options.limits.max_held, kFewHeld})} {}

ClientSessions::~ClientSessions() = default;

ClientSession* ClientSessions::find(SessionId id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second.get();
}

// --- connections ---

bool ClientSessions::remembers(const msgr::PeerIdentity& peer) const {
  const auto starts = starts_of_.find(ClientName{peer.entity, peer.instance});
  if (starts == starts_of_.end()) return false;
  return std::any_of(starts->second.begin(), starts->second.end(), [&](SessionId id) {
    const ClientSession& session = *sessions_.at(id);
    return session.nonce() == peer.nonce && session.is_served();
  });
}

ClientSessions::SessionId ClientSessions::open(msgr::Connection& connection) {
  const msgr::PeerIdentity& peer = connection.peer();
  const ClientName name{peer.entity, peer.instance};
  ClientStarts& starts = starts_of_[name];
  fences_.on_arrived(name);
  bool is_newest = fences_.allows(name, peer.nonce);
  for (const SessionId id : starts) {
    ClientSession& known = *sessions_.at(id);
    if (known.state() == State::kRevoked) continue;  // the new one waits until it is gone
    if (known.nonce() == peer.nonce) {
      known.attach(connection);
      return id;
    }
    is_newest &= known.nonce() < peer.nonce;
  }
  State state = State::kWaiting;
  if (!is_newest) {
    LUNAR_LOG_LIMITED(kOsd, 0,
                      "{} start {} is fenced: a newer one was seen, or a command fenced it",
                      name.to_string(), peer.nonce);
    state = State::kFenced;
  } else if (!can_make_room_for(name.entity)) {
    LUNAR_LOG_LIMITED(kOsd, 0,
                      "{} is refused: there are {} sessions of clients, {} of them of {}; "
                      "osd_client_sessions_max and osd_client_sessions_per_entity are the limits",
                      name.to_string(), sessions_.size(), sessions_of_[name.entity], name.entity);
    state = State::kRefused;
  }
  const SessionId id = next_id_++;
  const auto session =
      std::make_shared<ClientSession>(host_, fences_, options_.limits, replies_, id,
                                      std::make_shared<const ClientName>(name), peer.nonce, state);
  sessions_.emplace(id, session);
  ++sessions_of_[name.entity];
  starts_of_[name].push_back(id);
  fences_.on_arrived(name);  // room may have been made by dropping the last start that was there
  session->attach(connection);
  if (state == State::kWaiting) {
    fence_older(*session);
    open_if_alone(*session);
  }
  return id;
}

// Whoever comes and goes pushes out what is remembered of itself, and of nobody else.
bool ClientSessions::can_make_room_for(const std::string& entity) {
  const auto count = sessions_of_.find(entity);
  if (count != sessions_of_.end() && count->second >= options_.max_sessions_of_entity) {
    const ClientSession* oldest = nullptr;
    for (const auto& [id, session] : sessions_) {
      if (session->client().entity != entity || !session->is_expired(TimePoint::max(), {}))
        continue;
      if (oldest == nullptr || session->closed_at() < oldest->closed_at()) oldest = session.get();
    }
    if (oldest == nullptr) return false;
    drop(oldest->id());
  }
  return sessions_.size() < options_.max_sessions;
}

void ClientSessions::begin_held() {
  if (!std::exchange(replies_.is_awaited, false)) return;
  for (const auto& [id, session] : sessions_) session->begin_held();
}

void ClientSessions::close(msgr::Connection& connection, SessionId id, TimePoint now) {
  ClientSession* const session = find(id);
  if (session == nullptr) return;
  session->detach(connection, now);
  if (!session->is_connected() && !session->is_served() && !session->is_executing()) drop(id);
}

void ClientSessions::answer_held(TimePoint limit) {
  for (const auto& [id, session] : sessions_) session->answer_held(limit);
}

void ClientSessions::expire(TimePoint now) {
  std::vector<SessionId> expired;
  for (const auto& [id, session] : sessions_)
    if (session->is_expired(now, options_.timeout)) expired.push_back(id);
  for (const SessionId id : expired) drop(id);
}

void ClientSessions::drop(SessionId id) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;
  const auto starts = starts_of_.find(found->second->client());
  std::erase(starts->second, id);
  if (starts->second.empty()) {
    fences_.on_left(starts->first);
    starts_of_.erase(starts);
  }
  const auto count = sessions_of_.find(found->second->client().entity);
  if (--count->second == 0) sessions_of_.erase(count);
  sessions_.erase(found);
}

// --- ops ---

bool ClientSessions::knows(SessionId id, Tid tid, uint32_t attempt) const {
  const ClientSession* const session = find(id);
  return session != nullptr && session->knows(tid, attempt);
}

void ClientSessions::submit(msgr::Connection& connection, SessionId id, ClientOpRef op) {
  if (ClientSession* const session = find(id)) session->submit(connection, std::move(op));
}

void ClientSessions::cancel(msgr::Connection& connection, SessionId id,
                            const objecter::CancelNote& note) {
  if (ClientSession* const session = find(id)) session->cancel(connection, note);
  if (ClientSession* const session = find(id)) on_ops_ended(*session);
}

void ClientSessions::on_executed(ClientOpRef op, OpResultRef result) {
  ClientSession* const session = find(op->session);
  LUNAR_CHECK(session != nullptr, "an op outlived its session");
  session->on_executed(std::move(op), std::move(result));
  on_ops_ended(*session);
}

void ClientSessions::on_delivered(SessionId id, uint64_t connection_id, Tid tid) {
  if (ClientSession* const session = find(id)) session->on_delivered(connection_id, tid);
  begin_held();
}

msgr::FairShares::Held ClientSessions::hold_reply(SessionId id, uint64_t bytes) const {
  const ClientSession* const session = find(id);
  return session == nullptr ? msgr::FairShares::Held() : session->hold_reply(bytes);
}

// --- fences ---

// All of them before anything is taken back: what begins in its place is of somebody else.
void ClientSessions::shut_out(const std::vector<SessionId>& ids, State state) {
  if (ids.empty()) return;
  std::vector<ClientOpRef> executing;
  for (const SessionId id : ids) sessions_.at(id)->shut_out(state, executing);
  for (const ClientOpRef& op : host_.take_back(executing))
    sessions_.at(op->session)->on_taken_back(op);
}

void ClientSessions::fence_older(const ClientSession& session) {
  std::vector<SessionId> fenced;
  for (const SessionId other : starts_of_.at(session.client())) {
    const ClientSession& older = *sessions_.at(other);
    if (other == session.id() || older.is_shut_out()) continue;
    LUNAR_LOG_LIMITED(kOsd, 0, "{} start {} fences start {}", session.client().to_string(),
                      session.nonce(), older.nonce());
    fenced.push_back(other);
  }
  shut_out(fenced, State::kFenced);
  if (session.nonce() > 0) host_.on_fenced(session.client(), session.nonce() - 1);
}

uint64_t ClientSessions::newest_nonce(const ClientName& client) const {
  uint64_t newest = 0;
  const auto starts = starts_of_.find(client);
  if (starts == starts_of_.end()) return newest;
  for (const SessionId id : starts->second) newest = std::max(newest, sessions_.at(id)->nonce());
  return newest;
}

std::vector<ClientName> ClientSessions::clients_of(const std::string& entity) const {
  std::vector<ClientName> clients;
  for (auto at = starts_of_.lower_bound({entity, {}});
       at != starts_of_.end() && at->first.entity == entity; ++at)
    clients.push_back(at->first);
  return clients;
}

void ClientSessions::fence(const ClientName& client, uint64_t nonce,
                           UniqueFunction<void(bool)> done) {
  fence_starts({{client, nonce}}, std::move(done));
}

void ClientSessions::fence_entity(const std::string& entity, UniqueFunction<void(bool)> done) {
  std::vector<FencedStarts> starts;
  for (ClientName& client : clients_of(entity)) {
    const uint64_t newest = newest_nonce(client);
    starts.push_back({std::move(client), newest});
  }
  fence_starts(std::move(starts), std::move(done));
}

void ClientSessions::fence_starts(std::vector<FencedStarts> starts,
                                  UniqueFunction<void(bool)> done) {
  if (!are_fenced(starts)) return done(false);  // lifted while it was recorded
  std::vector<SessionId> fenced;
  for (const FencedStarts& each : starts) {
    const auto known = starts_of_.find(each.client);
    if (known == starts_of_.end()) continue;
    for (const SessionId id : known->second) {
      // One that was refused serves nothing, and letting it in later would pass the limits.
      const ClientSession& session = *sessions_.at(id);
      if (session.nonce() <= each.nonce && session.is_served()) fenced.push_back(id);
    }
  }
  shut_out(fenced, State::kFenced);
  for (const FencedStarts& each : starts) host_.on_fenced(each.client, each.nonce);
  if (!are_executing(starts)) return done(true);
  fence_waiters_.push_back({std::move(starts), std::move(done)});
}

void ClientSessions::unfence(const ClientName& client) {
  answer_fences();
  const auto starts = starts_of_.find(client);
  if (starts == starts_of_.end()) return;
  const uint64_t newest = newest_nonce(client);
  for (const SessionId id : ClientStarts(starts->second)) {
    ClientSession& session = *sessions_.at(id);
    const bool is_let_in = session.state() == State::kFenced && session.nonce() == newest &&
                           fences_.allows(client, session.nonce());
    if (!is_let_in) continue;
    session.let_in();
    open_if_alone(session);
  }
}

std::set<ClientSessions::SessionId> ClientSessions::revoke(const std::string& entity,
                                                           UniqueFunction<void()> done) {
  std::set<SessionId> revoked;
  for (const auto& [id, session] : sessions_)
    if (session->client().entity == entity) revoked.insert(id);
  shut_out({revoked.begin(), revoked.end()}, State::kRevoked);
  for (const SessionId id : revoked) {
    const ClientSession& session = *sessions_.at(id);
    host_.on_fenced(session.client(), session.nonce());
    if (!session.is_executing()) drop(id);
  }
  answer_fences();
  revocation_waiters_.push_back({revoked, std::move(done)});
  answer_revocations();
  return revoked;
}

void ClientSessions::answer_revocations() {
  for (std::size_t i = 0; i < revocation_waiters_.size();) {
    const auto& sessions = revocation_waiters_[i].sessions;
    if (std::any_of(sessions.begin(), sessions.end(),
                    [this](SessionId id) { return sessions_.contains(id); })) {
      ++i;
      continue;
    }
    auto done = std::move(revocation_waiters_[i].done);
    revocation_waiters_.erase(revocation_waiters_.begin() + static_cast<std::ptrdiff_t>(i));
    done();
  }
}

// The fence table refuses them all.
bool ClientSessions::are_fenced(const std::vector<FencedStarts>& starts) const {
  return std::all_of(starts.begin(), starts.end(), [this](const FencedStarts& each) {
    return each.nonce == 0 || !fences_.allows(each.client, each.nonce);
  });
}

// Some op of one of them executes.
bool ClientSessions::are_executing(const std::vector<FencedStarts>& starts) const {
  return std::any_of(starts.begin(), starts.end(), [this](const FencedStarts& each) {
    const auto known = starts_of_.find(each.client);
    if (known == starts_of_.end()) return false;
    return std::any_of(known->second.begin(), known->second.end(), [&](SessionId id) {
      const ClientSession& session = *sessions_.at(id);
      return session.nonce() <= each.nonce && session.is_executing();
    });
  });
}

void ClientSessions::open_if_alone(ClientSession& session) {
  if (session.state() != State::kWaiting) return;
  for (const SessionId other : starts_of_.at(session.client()))
    if (other != session.id() && sessions_.at(other)->is_executing()) return;
  session.open();
}

// An op of the session has ended or was taken back: it may have been the last one that a newer
// start, or a fence, waits for.
void ClientSessions::on_ops_ended(ClientSession& session) {
  if (session.is_executing()) return;
  if (!session.is_shut_out()) return answer_fences();
  const SessionId id = session.id();
  const bool is_gone = !session.is_connected();
  const ClientStarts starts = starts_of_.at(session.client());
  for (const SessionId other : starts)
    if (ClientSession* const waiting = find(other)) open_if_alone(*waiting);
  if (is_gone) drop(id);
  answer_fences();
  answer_revocations();
}

// Those that nothing executes of any more, and those that were lifted while they waited.
void ClientSessions::answer_fences() {
  for (std::size_t i = 0; i < fence_waiters_.size();) {
    const std::vector<FencedStarts>& starts = fence_waiters_[i].starts;
    const bool is_fenced = are_fenced(starts);
    if (is_fenced && are_executing(starts)) {
      ++i;
      continue;
    }
    auto done = std::move(fence_waiters_[i].done);
    fence_waiters_.erase(fence_waiters_.begin() + static_cast<std::ptrdiff_t>(i));
    done(is_fenced);
  }
}

std::string ClientSessions::to_json() const {
  using Json = nlohmann::ordered_json;
  static constexpr const char* kStates[] = {"waiting", "open", "fenced", "refused", "revoked"};
  Json out = Json::array();
  for (const auto& [id, session] : sessions_) {
    const ClientSession::Summary summary = session->summary();
    out.push_back({{"entity", session->client().entity},
                   {"instance", session->client().instance},
                   {"nonce", session->nonce()},
                   {"state", kStates[static_cast<std::size_t>(session->state())]},
                   {"connected", session->is_connected()},
                   {"executing", summary.executing},
                   {"held", summary.held},
                   {"results", summary.results},
                   {"result_bytes", summary.result_bytes},
                   {"oldest_tid", summary.oldest}});
  }
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
