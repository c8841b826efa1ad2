// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>
#include <utility>

#include "common/task.h"
#include "msgr/session/connect_attempt.h"
#include "msgr/session/frame_channel.h"
#include "msgr/session/handshake.h"
#include "msgr/session/session_environment.h"
#include "msgr/session/session_exchange.h"

namespace lunar::msgr {

// A link that this side made, for the session that `ready` names.
struct OpenedLink {
  OpenedLink(std::unique_ptr<Link> made, Greeted peer, const SessionReady& answer)
      : link(std::move(made)), greeted(std::move(peer)), ready(answer) {}
  std::unique_ptr<Link> link;
  Greeted greeted;
  SessionReady ready;
};

// What a connector tells the session that it is part of.
struct SessionConnectorOwner {
  // The peer does not know the session: it is lost, and a new one is asked for on the same link
  // unless give_up() or abort() is called meanwhile.
  virtual void session_is_unknown() = 0;

 protected:
  ~SessionConnectorOwner() = default;
};

// Makes links for a session: connect, greet, carry over to RDMA, ask for the session.
// Loop-bound. Part of the session, whose exchange and environment it borrows.
class SessionConnector {
 public:
  SessionConnector(SessionEnvironment& environment, SessionExchange& exchange,
                   SessionConnectorOwner& owner, uint64_t connection_id, Policy policy,
                   const Address& target)
      : environment_(environment),
        exchange_(exchange),
        owner_(owner),
        connection_id_(connection_id),
        policy_(policy),
        target_(target) {}
  SessionConnector(const SessionConnector&) = delete;
  SessionConnector& operator=(const SessionConnector&) = delete;

  // One attempt. An error has been logged and counted, and its link is closed.
  // REQUIRES: not is_connecting().
  Task<Result<OpenedLink>> connect();
  bool is_connecting() const noexcept { return attempt_ != nullptr || channel_ != nullptr; }
  // The attempt under way, if there is one, will give no link any more; it does not end yet.
  void give_up(std::error_code why) noexcept {
    if (is_connecting()) given_up_ = why;
  }
  // Ends the attempt under way, if there is one. May resume the coroutine inside the call.
  void abort(std::error_code why);

 private:
  using ReadyOrFailure = tl::expected<SessionReady, HandshakeFailure>;

  Task<ReadyOrFailure> request_session(uint64_t nonce);

  SessionEnvironment& environment_;
  SessionExchange& exchange_;
  SessionConnectorOwner& owner_;
  const uint64_t connection_id_;
  const Policy policy_;
  const Address target_;
  // At most one of these is set, and none without an attempt under way.
  ConnectAttempt* attempt_ = nullptr;      // in the coroutine's frame, until the link is there
  std::unique_ptr<FrameChannel> channel_;  // from then until the link is given out or closed
  std::error_code given_up_;               // of the attempt under way
};

}  // namespace lunar::msgr
