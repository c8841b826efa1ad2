// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/async_messenger.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "common/log.h"
#include "msgr/errors.h"
#include "msgr/session/upgrade.h"

namespace lunar::msgr {

AsyncMessenger::AsyncMessenger(EventCenter& on_center, NetworkStack& on_stack,
                               MessengerOptions with, const Keyring* keys, PerfRegistry* perf,
                               Dispatcher& to)
    : SessionEnvironment(on_center, on_stack, to, options_, keys, session_counters_,
                         std::make_shared<DispatchThrottle>(with.dispatch_throttle_bytes)),
      options_(std::move(with)),
      own_registry_(perf == nullptr ? std::make_unique<PerfRegistry>() : nullptr),
      session_counters_(perf == nullptr ? *own_registry_ : *perf) {}

AsyncMessenger::~AsyncMessenger() {
  LUNAR_CHECK(sessions_.empty() && incoming_.empty() && closing_channel_count_ == 0,
              "a messenger was destroyed before its shutdown() was done");
}

Outcome<Address> AsyncMessenger::bind(const Address& address, Policy accepted) {
  LUNAR_CHECK(accepted != Policy::kLossyClient && accepted != Policy::kLosslessClient,
              "a client's policy does not accept");
  if (is_shutting_down_) return failure(MsgrErrc::kClosed, "the messenger is shutting down");
  if (!options_.auth_required && !address.is_loopback()) {
    return failure(std::errc::permission_denied,
                   fmt::format("refusing to listen on {} without authentication: anyone who "
                               "reaches it could read and write; require psk with a keyring, or "
                               "use a loopback address",
                               address.to_string()));
  }
  auto listener = stack.listen(center, address, [this, accepted](std::unique_ptr<Link> link) {
    accept(std::move(link), accepted);
  });
  if (!listener) return failure(std::move(listener.error()));
  const Address local = (*listener)->local_address();
  LUNAR_LOG(kMs, 1, "{} listens on {}", options_.entity, local.to_string());
  listeners_.push_back(std::move(*listener));
  return local;
}

ConnectionRef AsyncMessenger::connect(const Address& peer, Policy policy) {
  LUNAR_CHECK(policy != Policy::kStatefulServer && policy != Policy::kStatelessServer,
              "a server's policy does not connect");
  for (const auto& session : sessions_) {
    if (session->is_ending() || session->target() != peer) continue;
    session->begin_connecting();
    return session;
  }
  auto session = std::make_shared<Session>(*this, policy, peer, true);
  if (is_shutting_down_) {
    session->close();
    return session;
  }
  sessions_.push_back(session);
  counters.sessions.inc();
  session->start();
  return session;
}

std::vector<ConnectionRef> AsyncMessenger::connections() const {
  std::vector<ConnectionRef> all;
  for (const auto& session : sessions_) {
    if (!session->is_ending()) all.push_back(session);
  }
  return all;
}

void AsyncMessenger::on_keys_changed() {
  if (is_shutting_down_) return;
  const auto sessions = sessions_;
  for (const auto& session : sessions) session->on_keys_changed();
  // One that still has to prove itself is judged by the keyring as it is then.
  const auto is_over = [this](const IncomingHandshake& each) {
    return each.greeted != nullptr && !each.channel->has_ended() && !counts(*each.greeted);
  };
  while (true) {  // one that is aborted takes itself out
    const auto found = std::find_if(incoming_.begin(), incoming_.end(), is_over);
    if (found == incoming_.end()) return;
    found->channel->abort(make_error_code(MsgrErrc::kAuthFailed));
  }
}

void AsyncMessenger::shutdown(UniqueFunction<void()> done) {
  LUNAR_CHECK(!is_shutting_down_, "shutdown() is for once");
  is_shutting_down_ = true;
  shutdown_done_ = std::move(done);
  listeners_.clear();
  const auto sessions = sessions_;
  for (const auto& session : sessions) session->close();
  while (!incoming_.empty()) incoming_.front().channel->abort(make_error_code(MsgrErrc::kClosed));
  end_if_idle();
}

HandshakeParty AsyncMessenger::make_party(const Link& link) const {
  Hello hello;
  hello.auth_required = options_.auth_required;
  hello.entity = options_.entity;
  hello.instance = options_.instance;
  hello.nonce = options_.nonce;
  if (!options_.one_sided) hello.features_supported &= ~kFeatureOneSided;
  if (can_upgrade(center, stack, link)) hello.features_supported |= kFeatureRdma;
  const Address here = link.local_address();
  for (const auto& listener : listeners_) {
    Address listening = listener->local_address();
    if (listening.family() != here.family()) continue;
    if (listening.is_wildcard()) {
      const uint16_t port = listening.port();
      listening = here;
      listening.set_port(port);
    }
    hello.listening = listening;
    break;
  }
  return HandshakeParty(std::move(hello), keyring, options_.modes);
}

void AsyncMessenger::dispose(std::unique_ptr<FrameChannel> channel) {
  close_channel(std::move(channel));
}

Detached AsyncMessenger::close_channel(std::unique_ptr<FrameChannel> channel) {
  ++closing_channel_count_;
  co_await channel->close();
  channel.reset();
  --closing_channel_count_;
  end_if_idle();
}

void AsyncMessenger::on_session_ended(Session& session) {
  counters.sessions.dec();
  std::erase_if(sessions_, [&](const auto& each) { return each.get() == &session; });
  end_if_idle();
}

void AsyncMessenger::end_if_idle() {
  if (!shutdown_done_ || !sessions_.empty() || !incoming_.empty() || closing_channel_count_ != 0) {
    return;
  }
  center.post([done = std::exchange(shutdown_done_, {})]() mutable { done(); });
}

}  // namespace lunar::msgr
