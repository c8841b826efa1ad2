// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/session_connector.h"

#include <algorithm>
#include <string>
#include <string_view>

#include "common/log_limited.h"
#include "msgr/errors.h"
#include "msgr/session/upgrade.h"

namespace lunar::msgr {
namespace {

// For the bare link. What a peer that is there does not answer within that was lost; TCP waits
// longer before it repeats itself than another attempt takes.
constexpr std::chrono::seconds kReachTimeout{3};
constexpr int kMaxRequests = 4;  // a reset and two stale generations, at the very most

tl::unexpected<HandshakeFailure> without_session(std::error_code code, std::string sentence,
                                                 bool tells_peer) {
  return tl::unexpected<HandshakeFailure>(HandshakeFailure(code, std::move(sentence), tells_peer));
}

tl::unexpected<HandshakeFailure> refuse(std::error_code code, std::string_view what) {
  return tl::unexpected<HandshakeFailure>(protocol_failure(code, what));
}

}  // namespace

void SessionConnector::abort(std::error_code why) {
  if (!is_connecting()) return;
  given_up_ = why;
  if (attempt_ != nullptr) return attempt_->abort(why);
  channel_->abort(why);
}

Task<Result<OpenedLink>> SessionConnector::connect() {
  given_up_ = {};
  const std::chrono::nanoseconds timeout = environment_.options.connection_ready_timeout;
  ConnectAttempt attempt(environment_.stack, environment_.center, target_,
                         std::min<std::chrono::nanoseconds>(timeout, kReachTimeout));
  attempt_ = &attempt;
  Result<std::unique_ptr<Link>> connected = co_await attempt;
  attempt_ = nullptr;
  if (!connected) co_return failure(connected.error());

  channel_ = std::make_unique<FrameChannel>(environment_.center, std::move(*connected), timeout);
  if (given_up_) channel_->abort(given_up_);
  HandshakeParty party = environment_.make_party(channel_->link());
  GreetResult greeted = co_await greet_as_connector(*channel_, std::move(party));
  std::optional<HandshakeFailure> failed;
  if (greeted) {
    UpgradeSetup setup(
        environment_.center, environment_.stack, timeout,
        [this](std::unique_ptr<FrameChannel> over) { environment_.dispose(std::move(over)); });
    Task<UpgradeFailure> upgrade = upgrade_as_connector(
        std::move(setup), channel_, greeted->peer.features_supported, greeted->is_secure);
    UpgradeFailure not_upgraded = co_await upgrade;
    failed = std::move(not_upgraded);
  }
  if (greeted && !failed) {
    ReadyOrFailure ready = co_await request_session(greeted->peer.nonce);
    if (ready && !given_up_ && !channel_->has_ended()) {
      std::unique_ptr<Link> link = channel_->release();
      channel_.reset();
      OpenedLink opened(std::move(link), std::move(*greeted), *ready);
      co_return std::move(opened);
    }
    failed = ready ? HandshakeFailure(make_error_code(MsgrErrc::kClosed), "closed here", true)
                   : std::move(ready.error());
  } else if (!greeted) {
    failed = std::move(greeted.error());
  }
  environment_.counters.handshakes_failed.add();
  LUNAR_LOG_LIMITED(kMs, failed->code == MsgrErrc::kFeatureMismatch ? 0 : 1,
                    "conn {}: no session with {}: {}", connection_id_, target_.to_string(),
                    failed->sentence);
  if (failed->tells_peer) {
    HandshakeError error = failed->for_peer();
    co_await channel_->close_with(std::move(error));
  } else {
    co_await channel_->close();
  }
  channel_.reset();
  co_return failure(failed->code);
}

Task<SessionConnector::ReadyOrFailure> SessionConnector::request_session(uint64_t nonce) {
  FrameChannel& channel = *channel_;
  for (int request_count = 0; request_count < kMaxRequests; ++request_count) {
    if (given_up_) break;
    // A peer of another nonce has started anew and cannot know the session. It is asked all the
    // same: its answer is what ends the session.
    const SessionRequest request = exchange_.make_request(policy_);
    channel.send(request.is_new() ? FrameTag::kSessionNew : FrameTag::kSessionReconnect,
                 request.encode());
    Result<ReceivedFrame> received = co_await channel.receive();
    if (!received) co_return without_session(received.error(), received.error().message(), false);
    if (given_up_) break;  // nobody is told of anything any more

    const auto tag = static_cast<FrameTag>(received->header.tag);
    if (tag == FrameTag::kSessionReady) {
      Result<SessionReady> ready = SessionReady::decode(received->front);
      if (!ready) co_return refuse(ready.error(), "session ready");
      if (!exchange_.accepts(*ready)) {
        co_return refuse(make_error_code(MsgrErrc::kBadFrame), "session ready");
      }
      co_return std::move(*ready);
    }
    if (tag == FrameTag::kSessionReset && exchange_.exists() && received->front.empty()) {
      LUNAR_LOG(kMs, 1, "conn {}: {} (nonce {}) does not know the session", connection_id_,
                target_.to_string(), nonce);
      owner_.session_is_unknown();
    } else if (tag == FrameTag::kSessionRetry) {
      Result<SessionRetry> retry = SessionRetry::decode(received->front);
      if (!retry) co_return refuse(retry.error(), "session retry");
      if (retry->reason == RetryReason::kLostRace) {
        environment_.counters.races.add();
        co_return without_session(make_error_code(MsgrErrc::kConnectionRace),
                                  "the peer's own connect goes on", false);
      }
      exchange_.raise_generation(retry->generation);
    } else {
      co_return tl::unexpected<HandshakeFailure>(explain_unexpected(*received));
    }
  }
  if (given_up_) {
    co_return without_session(given_up_, "closed here", true);
  }
  co_return without_session(make_error_code(MsgrErrc::kBadFrame),
                            "the peer gives no final answer to a session request", true);
}

}  // namespace lunar::msgr
