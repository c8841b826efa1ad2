// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>

#include "msgr/dispatcher.h"
#include "msgr/messenger.h"
#include "msgr/session/dispatch_throttle.h"
#include "msgr/session/frame_channel.h"
#include "msgr/session/handshake.h"
#include "msgr/session/session_counters.h"

namespace lunar::msgr {

class Session;

// What the sessions of a messenger share. Loop-bound to `center`. Borrows everything but the
// throttle; outlives every session whose life has begun and not ended (on_session_ended()).
struct SessionEnvironment {
  SessionEnvironment(EventCenter& on_center, NetworkStack& on_stack, Dispatcher& to,
                     const MessengerOptions& with, const Keyring* keys, SessionCounters& counting,
                     std::shared_ptr<DispatchThrottle> throttling) noexcept
      : center(on_center),
        stack(on_stack),
        dispatcher(to),
        options(with),
        keyring(keys),
        counters(counting),
        throttle(std::move(throttling)) {}
  EventCenter& center;
  NetworkStack& stack;
  Dispatcher& dispatcher;
  const MessengerOptions& options;
  const Keyring* keyring;  // may be null if no authentication is required
  SessionCounters& counters;
  std::shared_ptr<DispatchThrottle> throttle;  // shared with messages, which may outlive all this

  // False if the key that a connector has proven has been taken out of our keyring since.
  bool counts(const Greeted& greeted) const {
    return greeted.key.text.empty() ||
           greeted.key.counts(*keyring, greeted.peer.entity, options.entity);
  }

  // What this side says in the handshake of `link`.
  virtual HandshakeParty make_party(const Link& link) const = 0;
  // Closes a channel that nobody waits for.
  virtual void dispose(std::unique_ptr<FrameChannel> channel) = 0;
  // The messenger shuts down: the dispatcher is not called any more.
  virtual bool is_shutting_down() const noexcept = 0;
  // The session's last act: nothing of it runs any more.
  virtual void on_session_ended(Session& session) = 0;

 protected:
  ~SessionEnvironment() = default;
};

}  // namespace lunar::msgr
