// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "msgr/errors.h"
#include "msgr/session/session.h"
#include "msgr/session/upgrade.h"
#include "tracing/tracepoints.h"

// The life of a session, in order. run() is the only place where a link is adopted or given up, so
// a new link is never adopted before the old one is closed: an incoming one waits in offer_ while
// offer() has the old link, or our own connect, fail. Data flows through SessionLink's callbacks
// meanwhile.

namespace lunar::msgr {
namespace {

constexpr int kMaxRequests = 4;  // a reset and two stale generations, at the very most

tl::unexpected<HandshakeFailure> give_up(std::error_code code, std::string sentence, bool tell) {
  return tl::unexpected<HandshakeFailure>(HandshakeFailure(code, std::move(sentence), tell));
}

tl::unexpected<HandshakeFailure> refuse(std::error_code code, std::string_view what) {
  return tl::unexpected<HandshakeFailure>(protocol_failure(code, what));
}

}  // namespace

Detached Session::run() {
  const auto self = shared_self();
  while (!is_ending_) {
    if (offer_ != nullptr) {
      adopt_offer();
    } else if (connects()) {
      const std::error_code failed = co_await connect_once();
      if (failed && !is_ending_) after_failed_connect(failed);
    }
    if (link_ != nullptr) {
      Result<std::error_code> ended = co_await link_ends_.next();
      LUNAR_CHECK(ended.has_value(), "nobody closes this inbox");
      const std::error_code lost = std::exchange(reset_after_link_, {});
      if (!is_ending_ && lost) {
        reset(lost);
      } else if (!is_ending_ && is_lossy_) {
        reset(*ended);
      }
    }
    if (is_ending_ || offer_ != nullptr) continue;
    const std::chrono::nanoseconds pause = pause_length();
    if (is_ending_) break;
    co_await pause_.sleep(pause);
  }
  if (offer_ != nullptr) host_.dispose(std::move(offer_->channel));
  offer_.reset();
  queue_.clear();
  messages_finished();
  host_.session_over(*this);
}

bool Session::connects() const noexcept {
  if (target().is_unset()) return false;
  return begins_connecting_ || !queue_.is_idle();
}

// How long to wait for whatever comes next; ends a session that nobody came back to.
std::chrono::nanoseconds Session::pause_length() {
  const bool at_once = std::exchange(retry_at_once_, false) && is_open();
  if (connects()) return at_once ? std::chrono::nanoseconds(0) : backoff_.next();
  if (!is_open()) {  // accepted, and its first link did not last
    is_ending_ = true;
    return {};
  }
  const auto alone = center().now() - link_changed_;
  const auto limit = host_.options.session_timeout;
  if (alone >= limit) {
    reset(make_error_code(MsgrErrc::kTimedOut));
    return {};
  }
  return limit - alone;
}

// --- connecting ---

// Success once a link is adopted; then frames flow.
Task<std::error_code> Session::connect_once() {
  const std::chrono::nanoseconds timeout = host_.options.connection_ready_timeout;
  ConnectAttempt attempt(host_.stack, center(), target(), timeout);
  attempt_ = &attempt;
  Result<std::unique_ptr<Link>> connected = co_await attempt;
  attempt_ = nullptr;
  if (!connected) co_return connected.error();

  channel_ = std::make_unique<FrameChannel>(center(), std::move(*connected), timeout);
  if (is_ending_ || offer_ != nullptr) channel_->abort(make_error_code(MsgrErrc::kConnectionRace));
  HandshakeParty party = host_.make_party(channel_->link());
  GreetResult greeted = co_await greet_as_connector(*channel_, std::move(party));
  std::optional<HandshakeFailure> failure;
  if (greeted) {
    UpgradeSetup setup(center(), host_.stack, timeout, [this](std::unique_ptr<FrameChannel> over) {
      host_.dispose(std::move(over));
    });
    Task<UpgradeFailure> upgrade =
        upgrade_as_connector(std::move(setup), channel_, greeted->peer.features_supported);
    UpgradeFailure not_upgraded = co_await upgrade;
    failure = std::move(not_upgraded);
  }
  if (greeted && !failure) {
    SessionResult ready = co_await request_session(*channel_, greeted->peer.nonce);
    if (ready && !is_ending_ && !channel_->has_ended()) {
      std::unique_ptr<Link> link = channel_->release();
      channel_.reset();
      adopt(std::move(link), *greeted, *ready, ready->in_seq);
      co_return std::error_code();
    }
    failure = ready ? HandshakeFailure(make_error_code(MsgrErrc::kClosed), "closed here", true)
                    : std::move(ready.error());
  } else if (!greeted) {
    failure = std::move(greeted.error());
  }
  host_.counters.handshakes_failed.add();
  LUNAR_LOG(kMs, 1, "conn {}: no session with {}: {}", id(), target().to_string(),
            failure->sentence);
  if (failure->tell_peer) {
    HandshakeError error = failure->for_peer();
    co_await channel_->close_with(std::move(error));
  } else {
    co_await channel_->close();
  }
  channel_.reset();
  co_return failure->code;
}

Task<Session::SessionResult> Session::request_session(FrameChannel& channel, uint64_t nonce) {
  for (int request_count = 0; request_count < kMaxRequests; ++request_count) {
    if (is_ending_) break;
    // A peer of another nonce has started anew and cannot know the session: ask all the same, it
    // is its answer that ends it.
    SessionRequest request;
    request.cookie = own_cookie_;
    request.generation = generation_;
    request.lossy = policy_ == Policy::kLossyClient;
    request.peer_to_peer = policy_ == Policy::kLosslessPeer;
    if (is_open()) {
      request.peer_cookie = peer_cookie_;
      request.in_seq = in_seq_;
    }
    channel.send(is_open() ? FrameTag::kSessionReconnect : FrameTag::kSessionNew, request.encode());
    Result<ReceivedFrame> received = co_await channel.receive();
    if (!received) co_return give_up(received.error(), received.error().message(), false);

    const auto tag = static_cast<FrameTag>(received->header.tag);
    if (tag == FrameTag::kSessionReady) {
      Result<SessionReady> ready = SessionReady::decode(received->front);
      if (!ready) co_return refuse(ready.error(), "session ready");
      const bool fits = ready->generation > generation_ &&
                        (is_open() ? ready->cookie == peer_cookie_ : ready->in_seq == 0) &&
                        queue_.could_replay_from(ready->in_seq);
      if (!fits) co_return refuse(make_error_code(MsgrErrc::kBadFrame), "session ready");
      co_return std::move(*ready);
    }
    if (tag == FrameTag::kSessionReset && is_open() && received->front.empty()) {
      LUNAR_LOG(kMs, 1, "conn {}: {} (nonce {}) does not know the session", id(), peer().entity,
                nonce);
      reset(make_error_code(MsgrErrc::kSessionReset));
    } else if (tag == FrameTag::kSessionRetry) {
      Result<SessionRetry> retry = SessionRetry::decode(received->front);
      if (!retry) co_return refuse(retry.error(), "session retry");
      if (retry->reason == RetryReason::kLostRace) {
        host_.counters.races.add();
        co_return give_up(make_error_code(MsgrErrc::kConnectionRace),
                          "the peer's own connect goes on", false);
      }
      generation_ = std::max(generation_, retry->generation);
    } else {
      co_return tl::unexpected<HandshakeFailure>(explain_unexpected(*received));
    }
  }
  co_return give_up(make_error_code(is_ending_ ? MsgrErrc::kClosed : MsgrErrc::kBadFrame),
                    is_ending_ ? "closed here" : "the peer has no end of questions", true);
}

void Session::after_failed_connect(std::error_code why) {
  if (why == MsgrErrc::kAuthFailed || why == MsgrErrc::kFeatureMismatch) {
    // Trying again soon will not help, and whoever waits should know.
    backoff_.skip_to_longest();
    if (why == MsgrErrc::kAuthFailed) host_.counters.auth_failed.add();
    reset(why);
  } else {
    LUNAR_LOG(kMs, 5, "conn {}: cannot reach {}: {}", id(), target().to_string(), why.message());
  }
}

// --- links ---

void Session::adopt_offer() {
  if (is_open() && offer_->request.is_new() && offer_->request.cookie != peer_cookie_) {
    reset(make_error_code(MsgrErrc::kSessionReset));  // a lossless peer that started anew
  }
  std::unique_ptr<Offer> offer = std::move(offer_);
  const SessionRequest& request = offer->request;
  // The old link may have brought acknowledgements, but none that the peer did not send.
  const bool fits = queue_.could_replay_from(request.in_seq) && (is_open() || request.is_new());
  if (is_ending_ || !fits || offer->channel->has_ended()) {
    host_.dispose(std::move(offer->channel));
    return;
  }
  SessionReady ready;
  ready.cookie = own_cookie_;
  ready.generation = std::max(generation_, request.generation) + 1;
  ready.in_seq = in_seq_;
  ready.lossy = request.lossy || policy_ == Policy::kStatelessServer;
  offer->channel->send(FrameTag::kSessionReady, ready.encode());
  std::unique_ptr<Link> link = offer->channel->release();
  ready.cookie = request.cookie;
  adopt(std::move(link), offer->greeted, ready, request.in_seq);
}

// `ready` holds the peer's cookie.
void Session::adopt(std::unique_ptr<Link> link, const Greeted& greeted, const SessionReady& ready,
                    uint64_t peer_in_seq) {
  const bool is_first = !is_open();
  peer_cookie_ = ready.cookie;
  generation_ = ready.generation;
  is_lossy_ = ready.lossy || policy_ == Policy::kLossyClient;
  const bool one_sided =
      host_.options.one_sided && (greeted.peer.features_supported & kFeatureOneSided) != 0;
  set_peer(PeerIdentity{greeted.peer.entity, greeted.peer.instance, greeted.peer.nonce,
                        greeted.is_authenticated, link->peer_address(), one_sided});
  link_changed_ = center().now();
  set_open(true);
  was_reset_ = false;
  const std::size_t replayed = queue_.restart(peer_in_seq);
  messages_finished();

  host_.counters.links_up.add();
  if (LUNAR_TRACE_ENABLED(lunar_msgr, link_up)) {
    LUNAR_TRACE(lunar_msgr, link_up, id(), peer().address.to_string().c_str(), generation_);
  }
  LUNAR_LOG(kMs, 1, "conn {}: link {} to {} at {} is up, {} messages to replay", id(), generation_,
            peer().entity, peer().address.to_string(), replayed);
  if (is_first) {
    host_.counters.sessions_opened.add();
    LUNAR_TRACE(lunar_msgr, session_open, id(), peer().entity.c_str());
  } else {
    host_.counters.reconnects.add();
    LUNAR_TRACE(lunar_msgr, session_replay, id(), static_cast<uint32_t>(replayed));
  }
  const bool may_idle_out = target().is_unset();
  const SessionLink::Setup setup{center(),  host_.options, host_.counters, *host_.throttle,
                                 queue_,    in_seq_,       id(),           generation_,
                                 is_lossy_, may_idle_out};
  SessionLinkOwner& owner = *this;
  link_ = std::make_unique<SessionLink>(setup, std::move(link), owner);
  link_->start();
  if (is_first) host_.dispatcher.on_open(*this);
  if (!is_ending_) host_.dispatcher.on_link(*this, true);
}

// Everything of the session is lost. One that connects goes on to a new one.
void Session::reset(std::error_code why) {
  LUNAR_CHECK(link_ == nullptr, "reset() while a link is up");
  LUNAR_TRACE(lunar_msgr, session_reset, id(), why.value());
  LUNAR_LOG(kMs, 1, "conn {}: session with {} reset: {}", id(),
            is_open() ? peer().entity : target().to_string(), why.message());
  host_.counters.resets.add();
  set_open(false);
  was_reset_ = true;
  queue_.clear();
  messages_finished();
  in_seq_ = 0;
  own_cookie_ = Cookie::random();
  peer_cookie_ = {};
  // One that was come to is over, unless a link for its successor is at the door.
  if (!begins_connecting_ && offer_ == nullptr) is_ending_ = true;
  host_.dispatcher.on_reset(*this, why);
}

}  // namespace lunar::msgr
