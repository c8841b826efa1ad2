// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <system_error>
#include <utility>

#include "common/task.h"
#include "msgr/awaiters.h"
#include "msgr/connection.h"
#include "msgr/session/connection_race.h"
#include "msgr/session/reconnect_pacing.h"
#include "msgr/session/session_connector.h"
#include "msgr/session/session_environment.h"
#include "msgr/session/session_exchange.h"
#include "msgr/session/session_link.h"

namespace lunar::msgr {

// A link that a peer made: through its handshake but for the answer to its request.
struct IncomingLink {
  std::unique_ptr<FrameChannel> channel;
  Greeted greeted;
  SessionRequest request;
};

// The connection with one peer: brings together the exchange of its session, the link that is up,
// and whoever makes the next one. session.cc is what users, the acceptor and the link call;
// session_life.cc is the coroutine that gets link after link.
// Loop-bound. Shared: its life holds it until it has ended.
class Session final : public Connection, private SessionLinkOwner, private SessionConnectorOwner {
 public:
  // `target` is where to connect to; unset if only the peer connects. `begins_connecting`: at once,
  // otherwise only when there is something to send.
  Session(SessionEnvironment& environment, Policy policy, const Address& target,
          bool begins_connecting);
  ~Session() override;
  // Begins its life; once.
  void start();

  void send(std::unique_ptr<OutMessage> message) override;
  void withdraw(uint64_t tid, InlineFunction<void()> done) override;
  void revoke(const RemoteKey& key, InlineFunction<void()> done) override;
  void remote_read(const RemoteKey& from, RegisteredSlice local, IoDone done) override;
  void remote_write(RegisteredSlice local, const RemoteKey& to, IoDone done) override;
  uint64_t link_generation() const noexcept override {
    return link_is_up() ? link_->generation() : 0;
  }
  LinkCapabilities link_capabilities() const noexcept override;
  void close() noexcept override;

  // For the acceptor: whose request is it, what becomes of it, and here is its link.
  Policy policy() const noexcept { return policy_; }
  bool is_ending() const noexcept { return is_ending_; }
  const SessionExchange& exchange() const noexcept { return exchange_; }
  RequestVerdict judge(const Greeted& greeted, const SessionRequest& request, const RaceRank& ours,
                       const RaceRank& theirs) const;
  // REQUIRES: judge() says kWelcome, for this request.
  void take(std::unique_ptr<IncomingLink> incoming);
  // As Messenger::on_keys_changed().
  void on_keys_changed();
  // For Messenger::connect(), of a lossless peer that had connected to us: from now on this side
  // connects too.
  void begin_connecting();

 private:
  // session_life.cc
  Detached run();
  void adopt_incoming();
  void adopt(std::unique_ptr<Link> link, const Greeted& greeted, const SessionReady& ready,
             const Cookie& peer_cookie, uint64_t peer_in_seq);
  void reset(std::error_code why);
  void on_failed_connect(std::error_code why);
  std::chrono::nanoseconds pause_length();
  bool connects() const noexcept;

  bool link_is_up() const noexcept { return link_ != nullptr && link_->is_up(); }
  Link* link_of(const RemoteKey& key, uint32_t bytes) noexcept;
  std::shared_ptr<Session> shared_self() {
    return std::static_pointer_cast<Session>(shared_from_this());
  }
  void wake();

  // SessionLinkOwner
  Bytes place_payload(const FrameHeader& header, ConstBytes front) override;
  void on_message(ReceivedFrame frame, FairShares::Held held) override;
  void on_closed_by_peer() override;
  void on_link_idle() override;
  void on_messages_finished() override;
  void on_link_closed(std::error_code why) override;
  // SessionConnectorOwner
  void session_is_unknown() override;

  SessionEnvironment& environment_;
  const Policy policy_;
  bool begins_connecting_;   // may become true, and stays so
  bool was_reset_ = false;   // messages are dropped until the next session; implies !exists()
  bool is_ending_ = false;   // close() was called, or nothing can bring a next session; for good
  bool owes_reset_ = false;  // close() ended a session that on_open() told of; implies is_ending_
  bool is_finish_posted_ = false;
  bool is_wake_posted_ = false;

  KeyMark key_;  // that the peer has proven; without a text unless it connected
  SessionExchange exchange_;
  FairShares::ShareRef share_;  // of the dispatch throttle; null before the first link
  ReconnectPacing pacing_;
  SessionConnector connector_;
  std::unique_ptr<SessionLink> link_;       // from adopt() until it is closed; then exists()
  std::unique_ptr<IncomingLink> incoming_;  // waits until link_ is closed, or our own connect ended
  std::error_code reset_after_link_;        // the session ends with link_, for this reason
  Inbox<std::error_code> link_ends_;        // one entry for each link_ that was closed
  Sleeper pause_;                           // while there is no link and no attempt
};

}  // namespace lunar::msgr
