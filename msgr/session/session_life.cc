// SPDX-License-Identifier: LGPL-2.1-or-later
#include <utility>

#include "common/check.h"
#include "common/log_limited.h"
#include "msgr/errors.h"
#include "msgr/session/session.h"
#include "tracing/tracepoints.h"

// The life of a session, in order. run() is the only place where a link is adopted or given up, so
// a new link is never adopted before the old one is closed: an incoming one waits in incoming_
// while take() has the old link, or our own connect, fail. Data flows through SessionLink's
// callbacks meanwhile.

namespace lunar::msgr {

Detached Session::run() {
  const auto self = shared_self();
  while (!is_ending_) {
    if (incoming_ != nullptr) {
      adopt_incoming();
    } else if (connects()) {
      Result<OpenedLink> opened = co_await connector_.connect();
      if (opened) {
        LUNAR_CHECK(!is_ending_, "a link was opened for a session that has ended");
        adopt(std::move(opened->link), opened->greeted, opened->ready, opened->ready.cookie,
              opened->ready.in_seq);
      } else if (!is_ending_) {
        on_failed_connect(opened.error());
      }
    }
    if (link_ != nullptr) {
      Result<std::error_code> ended = co_await link_ends_.next();
      LUNAR_CHECK(ended.has_value(), "nobody closes this inbox");
      const std::error_code lost = std::exchange(reset_after_link_, {});
      if (!is_ending_ && lost) {
        reset(lost);
      } else if (!is_ending_ && exchange_.is_lossy()) {
        reset(*ended);
      }
    }
    if (is_ending_ || incoming_ != nullptr) continue;
    const std::chrono::nanoseconds pause = pause_length();
    if (is_ending_) break;
    co_await pause_.sleep(pause);
  }
  if (incoming_ != nullptr) environment_.dispose(std::move(incoming_->channel));
  incoming_.reset();
  exchange_.queue().clear();
  on_messages_finished();
  // Whoever closed it: everybody who heard of the session hears of its end, and can refer to it
  // until then.
  if (std::exchange(owes_reset_, false) && !environment_.is_shutting_down())
    environment_.dispatcher.on_reset(*this, make_error_code(MsgrErrc::kClosed));
  environment_.on_session_ended(*this);
}

bool Session::connects() const noexcept {
  if (target().is_unset()) return false;
  return begins_connecting_ || !exchange_.queue().is_idle();
}

// How long to wait for whatever comes next. Ends a session whose peer did not come back, and a
// connection that nothing can give a session.
std::chrono::nanoseconds Session::pause_length() {
  if (connects()) return pacing_.next(exchange_.exists());
  pacing_.on_waiting_for_peer();
  if (!exchange_.exists()) {  // accepted, and its first link did not last
    is_ending_ = true;
    return {};
  }
  const auto alone = pacing_.time_without_link(center().now());
  const auto limit = environment_.options.session_timeout;
  if (alone >= limit) {
    reset(make_error_code(MsgrErrc::kTimedOut));
    return {};
  }
  return limit - alone;
}

void Session::on_failed_connect(std::error_code why) {
  if (why == MsgrErrc::kAuthFailed || why == MsgrErrc::kFeatureMismatch) {
    // Trying again soon will not help, and whoever waits should know.
    pacing_.on_refused();
    if (why == MsgrErrc::kAuthFailed) environment_.counters.auth_failed.add();
    reset(why);
  } else {
    if (why == MsgrErrc::kTooMany)
      LUNAR_LOG_LIMITED(kMs, 0, "conn {}: {} refuses another session of {}: {}", id(),
                        target().to_string(), environment_.options.entity, why.message());
    LUNAR_LOG(kMs, 5, "conn {}: cannot reach {}: {}", id(), target().to_string(), why.message());
  }
}

// --- links ---

void Session::adopt_incoming() {
  if (exchange_.is_superseded_by(incoming_->request)) {
    reset(make_error_code(MsgrErrc::kSessionReset));
  }
  const std::unique_ptr<IncomingLink> incoming = std::move(incoming_);
  const SessionRequest& request = incoming->request;
  if (is_ending_ || !exchange_.can_continue_with(request) || incoming->channel->has_ended() ||
      !environment_.counts(incoming->greeted)) {
    environment_.dispose(std::move(incoming->channel));
    return;
  }
  const SessionReady ready = exchange_.make_ready(request, policy_);
  incoming->channel->send(FrameTag::kSessionReady, ready.encode());
  std::unique_ptr<Link> link = incoming->channel->release();
  adopt(std::move(link), incoming->greeted, ready, request.cookie, request.in_seq);
}

void Session::adopt(std::unique_ptr<Link> link, const Greeted& greeted, const SessionReady& ready,
                    const Cookie& peer_cookie, uint64_t peer_in_seq) {
  const bool is_first = !exchange_.exists();
  const bool one_sided =  // what moves by itself would not be inside TLS
      environment_.options.one_sided && !greeted.is_secure &&
      (greeted.peer.features_supported & kFeatureOneSided) != 0;
  set_peer(PeerIdentity{greeted.peer.entity, greeted.peer.instance, greeted.peer.nonce,
                        greeted.is_authenticated, link->peer_address(), one_sided,
                        (greeted.peer.features_supported & kFeatureWatches) != 0, greeted.is_secure,
                        (greeted.peer.features_supported & kFeatureMoves) != 0,
                        (greeted.peer.features_supported & kFeaturePoolIds) != 0});
  key_ = greeted.key;
  if (share_ == nullptr) share_ = environment_.throttle->open(peer().entity);
  const std::size_t replayed = exchange_.begin(ready, peer_cookie, peer_in_seq, policy_);
  pacing_.on_link_up(center().now());
  set_open(true);
  was_reset_ = false;
  on_messages_finished();

  const uint64_t generation = exchange_.generation();
  environment_.counters.links_up.add();
  if (greeted.is_secure) environment_.counters.links_secure.add();
  if (LUNAR_TRACE_ENABLED(lunar_msgr, link_up)) {
    LUNAR_TRACE(lunar_msgr, link_up, id(), peer().address.to_string().c_str(), generation);
  }
  LUNAR_LOG(kMs, 1, "conn {}: link {} to {} at {} is up, {} messages to replay", id(), generation,
            peer().entity, peer().address.to_string(), replayed);
  if (is_first) {
    environment_.counters.sessions_opened.add();
    LUNAR_TRACE(lunar_msgr, session_open, id(), peer().entity.c_str());
  } else {
    environment_.counters.reconnects.add();
    LUNAR_TRACE(lunar_msgr, session_replay, id(), static_cast<uint32_t>(replayed));
  }
  const SessionLinkContext context{.center = center(),
                                   .options = environment_.options,
                                   .counters = environment_.counters,
                                   .throttle = *environment_.throttle,
                                   .share = share_,
                                   .queue = exchange_.queue(),
                                   .in_seq = exchange_.in_seq(),
                                   .connection_id = id(),
                                   .generation = generation,
                                   .is_lossy = exchange_.is_lossy(),
                                   .is_secure = greeted.is_secure,
                                   .is_renewed_here = !target().is_unset(),
                                   .may_idle_out = target().is_unset()};
  SessionLinkOwner& owner = *this;
  link_ = std::make_unique<SessionLink>(context, std::move(link), owner);
  link_->start();
  if (is_first) environment_.dispatcher.on_open(*this);
  if (!is_ending_) environment_.dispatcher.on_link(*this, true);
}

// Everything of the session is lost. One that connects goes on to a new one.
void Session::reset(std::error_code why) {
  LUNAR_CHECK(link_ == nullptr, "reset() while a link is up");
  LUNAR_TRACE(lunar_msgr, session_reset, id(), why.value());
  LUNAR_LOG(kMs, 1, "conn {}: session with {} reset: {}", id(),
            is_open() ? peer().entity : target().to_string(), why.message());
  environment_.counters.resets.add();
  set_open(false);
  was_reset_ = true;
  exchange_.reset();
  on_messages_finished();
  // Without a way to connect this was the last session, unless the link of the next one waits.
  if (!begins_connecting_ && incoming_ == nullptr) {
    is_ending_ = true;
    connector_.give_up(make_error_code(MsgrErrc::kClosed));
  }
  environment_.dispatcher.on_reset(*this, why);
}

}  // namespace lunar::msgr
