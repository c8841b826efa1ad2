// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session_exchange.h"

#include <algorithm>

namespace lunar::msgr {
namespace {

bool is_same_peer(const Greeted& from, const PeerIdentity& known) {
  return known.entity == from.peer.entity && known.instance == from.peer.instance &&
         known.nonce == from.peer.nonce && known.is_authenticated == from.is_authenticated;
}

}  // namespace

SessionRequest SessionExchange::make_request(Policy policy) const {
  SessionRequest request;
  request.cookie = own_cookie_;
  request.generation = generation_;
  request.lossy = policy == Policy::kLossyClient;
  request.peer_to_peer = policy == Policy::kLosslessPeer;
  if (exists_) {
    request.peer_cookie = peer_cookie_;
    request.in_seq = in_seq_;
  }
  return request;
}

bool SessionExchange::accepts(const SessionReady& ready) const noexcept {
  return ready.generation > generation_ &&
         (exists_ ? ready.cookie == peer_cookie_ : ready.in_seq == 0) &&
         queue_.could_replay_from(ready.in_seq);
}

void SessionExchange::raise_generation(uint64_t generation) noexcept {
  generation_ = std::max(generation_, generation);
}

RequestVerdict SessionExchange::judge(const SessionRequest& request, const Greeted& from,
                                      const PeerIdentity& known) const {
  const bool is_known = request.cookie == peer_cookie_;
  if (request.is_new() && is_known && progress() != 0) {
    return RequestVerdict::kUnknown;  // it says it never had the session it has been using
  }
  if (!request.is_new() && !(exists_ && is_known && request.peer_cookie == own_cookie_ &&
                             is_same_peer(from, known) && can_continue_with(request))) {
    return RequestVerdict::kUnknown;
  }
  // Neither its address nor its cookie is enough to take over a session.
  if (request.is_new() && exists_ && known.entity != from.peer.entity) {
    return RequestVerdict::kUnknown;
  }
  if ((is_known || !exists_) && request.generation < generation_) return RequestVerdict::kStale;
  return RequestVerdict::kWelcome;
}

bool SessionExchange::is_superseded_by(const SessionRequest& request) const noexcept {
  return exists_ && request.is_new() && request.cookie != peer_cookie_;
}

bool SessionExchange::can_continue_with(const SessionRequest& request) const noexcept {
  return queue_.could_replay_from(request.in_seq) && (exists_ || request.is_new());
}

SessionReady SessionExchange::make_ready(const SessionRequest& request, Policy policy) const {
  SessionReady ready;
  ready.cookie = own_cookie_;
  ready.generation = std::max(generation_, request.generation) + 1;
  ready.in_seq = in_seq_;
  ready.lossy = request.lossy || policy == Policy::kStatelessServer;
  return ready;
}

std::size_t SessionExchange::begin(const SessionReady& ready, const Cookie& peer_cookie,
                                   uint64_t peer_in_seq, Policy policy) {
  exists_ = true;
  peer_cookie_ = peer_cookie;
  generation_ = ready.generation;
  is_lossy_ = ready.lossy || policy == Policy::kLossyClient;
  return queue_.restart(peer_in_seq);
}

void SessionExchange::reset() {
  exists_ = false;
  queue_.clear();
  in_seq_ = 0;
  own_cookie_ = Cookie::random();
  peer_cookie_ = {};
}

}  // namespace lunar::msgr
