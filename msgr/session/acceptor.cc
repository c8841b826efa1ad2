// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <optional>
#include <utility>

#include "common/log.h"
#include "msgr/errors.h"
#include "msgr/session/async_messenger.h"
#include "msgr/session/upgrade.h"

// The accepting side of a handshake: greet, then give the link to the session it asks for, or to a
// new one. The number of handshakes under way is bounded: beyond it the oldest one is ended, so
// that peers which connect and send nothing cannot keep others out.

namespace lunar::msgr {
namespace {

constexpr std::size_t kMaxIncoming = 256;

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

Detached AsyncMessenger::accept(std::unique_ptr<Link> link, Policy policy) {
  auto channel =
      std::make_unique<FrameChannel>(center, std::move(link), options_.connection_ready_timeout);
  const auto place = incoming_.insert(incoming_.end(), channel.get());
  if (incoming_.size() > kMaxIncoming) {
    incoming_.front()->abort(make_error_code(MsgrErrc::kReplaced));
  }
  HandshakeParty party = make_party(channel->link());
  const RaceRank ours{party.hello.listening, party.hello.nonce};
  GreetResult greeted = co_await greet_as_acceptor(*channel, std::move(party));
  std::optional<HandshakeFailure> failure;
  if (!greeted) failure = std::move(greeted.error());
  if (!failure) {
    UpgradeSetup setup(center, stack, options_.connection_ready_timeout,
                       [this](std::unique_ptr<FrameChannel> over) { dispose(std::move(over)); });
    Task<UpgradeFailure> upgrade =
        upgrade_as_acceptor(std::move(setup), channel, greeted->peer.features_supported);
    UpgradeFailure not_upgraded = co_await upgrade;
    failure = std::move(not_upgraded);
    *place = channel.get();
  }
  while (!failure) {
    Result<ReceivedFrame> received = co_await channel->receive();
    auto request = read_request(std::move(received));
    if (!request) {
      failure = std::move(request.error());
      break;
    }
    Routed routed = route(policy, *greeted, *request, ours);
    if (routed.verdict == RequestVerdict::kWelcome && !is_shutting_down_) {
      incoming_.erase(place);
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
  incoming_.erase(place);
  counters.handshakes_failed.add();
  if (failure->code == MsgrErrc::kAuthFailed) counters.auth_failed.add();
  LUNAR_LOG(kMs, failure->code == MsgrErrc::kAuthFailed ? 0 : 1, "link from {} refused: {}",
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
