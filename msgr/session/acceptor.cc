// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "common/log_limited.h"
#include "msgr/errors.h"
#include "msgr/session/async_messenger.h"
#include "msgr/session/upgrade.h"

// The accepting side of a handshake: greet, then give the link to the session it asks for, or to a
// new one. The number of handshakes under way is bounded, in all and for each address: beyond it
// the oldest one of the address that has too many, or most, is ended. So peers that connect and
// send nothing keep nobody out but, at the worst, others at their own address.

namespace lunar::msgr {
namespace {

// One host has a whole /64 of IPv6, so a /64 counts as one host.
Address host_of(const Address& peer) {
  constexpr std::size_t kPrefixBytes = 8;
  std::array<uint8_t, 16> raw = peer.raw();
  if (peer.is_ipv6()) std::fill(raw.begin() + kPrefixBytes, raw.end(), uint8_t{0});
  return Address::from_raw(peer.family(), raw, 0);
}

tl::expected<SessionRequest, HandshakeFailure> read_request(Result<ReceivedFrame> received) {
  if (!received) {
    return tl::unexpected<HandshakeFailure>(
        HandshakeFailure(received.error(), received.error().message(), false));
  }
  const auto tag = static_cast<FrameTag>(received->header.tag);
  if (tag != FrameTag::kSessionNew && tag != FrameTag::kSessionReconnect) {
    return tl::unexpected<HandshakeFailure>(explain_unexpected(*received));
  }
  Result<SessionRequest> request =
      SessionRequest::decode(tag == FrameTag::kSessionReconnect, received->front);
  if (!request) {
    return tl::unexpected<HandshakeFailure>(protocol_failure(request.error(), "session request"));
  }
  return *request;
}

// Answers a request that is not welcome; a failure if there is nothing more to say.
std::optional<HandshakeFailure> answer(FrameChannel& channel, RequestVerdict verdict,
                                       const SessionRequest& request, uint64_t generation) {
  if (verdict == RequestVerdict::kStale) {
    channel.send(FrameTag::kSessionRetry,
                 SessionRetry{RetryReason::kStaleGeneration, generation}.encode());
    return std::nullopt;
  }
  if (verdict == RequestVerdict::kLostRace) {
    channel.send(FrameTag::kSessionRetry,
                 SessionRetry{RetryReason::kLostRace, generation}.encode());
    return std::nullopt;  // the peer closes
  }
  if (request.is_new()) {
    return protocol_failure(make_error_code(MsgrErrc::kBadFrame), "a session of another entity");
  }
  channel.send(FrameTag::kSessionReset, {});
  return std::nullopt;
}

}  // namespace

AsyncMessenger::IncomingHandshakes::iterator AsyncMessenger::enter(FrameChannel& channel) {
  const Address host = host_of(channel.link().peer_address());
  const auto place = incoming_.insert(incoming_.end(), {&channel, host});
  if (++incoming_of_[host] > options_.max_handshakes_per_host) {
    end_oldest_of(host);
  } else if (incoming_.size() > options_.max_handshakes) {
    end_oldest_of(std::max_element(incoming_of_.begin(), incoming_of_.end(),
                                   [](const auto& a, const auto& b) { return a.second < b.second; })
                      ->first);
  }
  return place;
}

void AsyncMessenger::leave(IncomingHandshakes::iterator place) {
  const auto count = incoming_of_.find(place->host);
  if (--count->second == 0) incoming_of_.erase(count);
  incoming_.erase(place);
}

void AsyncMessenger::end_oldest_of(const Address& host) {
  const auto oldest = std::find_if(incoming_.begin(), incoming_.end(),
                                   [&](const auto& each) { return each.host == host; });
  counters.handshakes_replaced.add();
  oldest->channel->abort(make_error_code(MsgrErrc::kReplaced));
}

bool AsyncMessenger::has_too_many_sessions(const std::string& entity) const {
  const auto count = std::count_if(sessions_.begin(), sessions_.end(), [&](const auto& session) {
    return session->target().is_unset() && session->peer().entity == entity;
  });
  return static_cast<uint64_t>(count) >= options_.max_sessions;
}

Detached AsyncMessenger::accept(std::unique_ptr<Link> link, Policy policy) {
  auto channel =
      std::make_unique<FrameChannel>(center, std::move(link), options_.connection_ready_timeout);
  const auto place = enter(*channel);
  HandshakeParty party = make_party(channel->link());
  const RaceRank ours{party.hello.listening, party.hello.nonce};
  GreetResult greeted = co_await greet_as_acceptor(*channel, std::move(party));
  std::optional<HandshakeFailure> failure;
  if (greeted)
    place->greeted = &*greeted;
  else
    failure = std::move(greeted.error());
  if (!failure) {
    UpgradeSetup setup(center, stack, options_.connection_ready_timeout,
                       [this](std::unique_ptr<FrameChannel> over) { dispose(std::move(over)); });
    Task<UpgradeFailure> upgrade = upgrade_as_acceptor(
        std::move(setup), channel, greeted->peer.features_supported, greeted->is_secure);
    UpgradeFailure not_upgraded = co_await upgrade;
    failure = std::move(not_upgraded);
    place->channel = channel.get();
  }
  while (!failure) {
    Result<ReceivedFrame> received = co_await channel->receive();
    auto request = read_request(std::move(received));
    if (!request) {
      failure = std::move(request.error());
      break;
    }
    Routed routed = route(policy, *greeted, *request, ours);
    if (routed.is_new && has_too_many_sessions(greeted->peer.entity)) {
      counters.sessions_refused.add();
      failure = HandshakeFailure(
          make_error_code(MsgrErrc::kTooMany),
          fmt::format("{} has {} sessions here, as many as one entity may have: close some, or "
                      "raise ms_max_sessions_per_entity",
                      greeted->peer.entity, options_.max_sessions),
          true);
      break;
    }
    if (routed.verdict == RequestVerdict::kWelcome && !is_shutting_down_) {
      leave(place);
      auto incoming = std::make_unique<IncomingLink>();
      incoming->channel = std::move(channel);
      incoming->greeted = std::move(*greeted);
      incoming->request = *request;
      routed.session->take(std::move(incoming));
      if (routed.is_new) {
        sessions_.push_back(routed.session);
        counters.sessions.inc();
        routed.session->start();
      }
      co_return;
    }
    const uint64_t generation = routed.session ? routed.session->exchange().generation() : 0;
    failure = answer(*channel, routed.verdict, *request, generation);
  }
  leave(place);
  counters.handshakes_failed.add();
  if (failure->code == MsgrErrc::kAuthFailed) counters.auth_failed.add();
  const bool is_loud = failure->code == MsgrErrc::kAuthFailed ||
                       failure->code == MsgrErrc::kTooMany ||
                       failure->code == MsgrErrc::kFeatureMismatch;
  LUNAR_LOG_LIMITED(kMs, is_loud ? 0 : 1, "link from {} refused: {}",
                    channel->link().peer_address().to_string(), failure->sentence);
  ++closing_channel_count_;
  if (failure->tells_peer) {
    HandshakeError error = failure->for_peer();
    co_await channel->close_with(std::move(error));
  } else {
    co_await channel->close();
  }
  channel.reset();
  --closing_channel_count_;
  end_if_idle();
}

std::shared_ptr<Session> AsyncMessenger::find_session(Policy policy, const Greeted& greeted,
                                                      const SessionRequest& request) const {
  const auto find = [this](auto&& matches) -> std::shared_ptr<Session> {
    const auto found = std::find_if(sessions_.begin(), sessions_.end(), [&](const auto& session) {
      return !session->is_ending() && matches(*session);
    });
    return found == sessions_.end() ? nullptr : *found;
  };
  if (!request.is_new()) {
    return find([&](const Session& session) {
      return session.exchange().has_cookies(request.peer_cookie, request.cookie);
    });
  }
  // The answer to an earlier request may have been lost on its way.
  if (auto known = find([&](const Session& session) {
        return session.exchange().peer_cookie() == request.cookie;
      })) {
    return known;
  }
  const Address& listening = greeted.peer.listening;
  if (!request.peer_to_peer || policy != Policy::kLosslessPeer || listening.is_unset()) {
    return nullptr;
  }
  return find([&](const Session& session) {
    return session.policy() == Policy::kLosslessPeer && session.target() == listening;
  });
}

AsyncMessenger::Routed AsyncMessenger::route(Policy policy, const Greeted& greeted,
                                             const SessionRequest& request, const RaceRank& ours) {
  Routed routed;
  routed.session = find_session(policy, greeted, request);
  const RaceRank theirs{greeted.peer.listening, greeted.peer.nonce};
  if (routed.session != nullptr) {
    routed.verdict = routed.session->judge(greeted, request, ours, theirs);
  } else if (request.is_new()) {
    const bool is_peer = request.peer_to_peer && policy == Policy::kLosslessPeer;
    const Policy accepted =
        is_peer || policy == Policy::kStatelessServer ? policy : Policy::kStatefulServer;
    routed.session = std::make_shared<Session>(*this, accepted,
                                               is_peer ? greeted.peer.listening : Address(), false);
    routed.is_new = true;
    routed.verdict = RequestVerdict::kWelcome;
  }
  return routed;
}

}  // namespace lunar::msgr
