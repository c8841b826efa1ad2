// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "common/task.h"
#include "msgr/awaiters.h"
#include "msgr/connection.h"
#include "msgr/dispatcher.h"
#include "msgr/messenger.h"
#include "msgr/session/backoff.h"
#include "msgr/session/connect_attempt.h"
#include "msgr/session/connection_race.h"
#include "msgr/session/frame_channel.h"
#include "msgr/session/handshake.h"
#include "msgr/session/send_queue.h"
#include "msgr/session/session_counters.h"
#include "msgr/session/session_link.h"

namespace lunar::msgr {

class Session;

// What the sessions of a messenger share. Outlives them all, as far as they run.
struct SessionHost {
  SessionHost(EventCenter& on_center, NetworkStack& on_stack, Dispatcher& to,
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
  const Keyring* keyring;
  SessionCounters& counters;
  std::shared_ptr<DispatchThrottle> throttle;

  // What to say on a link, and the rank we have in a race for it.
  virtual HandshakeParty make_party(const Link& link) const = 0;
  // Closes a channel nobody waits for.
  virtual void dispose(std::unique_ptr<FrameChannel> channel) = 0;
  // The session's last act: nothing of it runs any more.
  virtual void session_over(Session& session) = 0;

 protected:
  ~SessionHost() = default;
};

// A session with one peer: its state, and the coroutine that is its life (session_life.cc).
// Loop-bound. Shared: run() holds it until it is over.
class Session final : public Connection, private SessionLinkOwner {
 public:
  // A link that came in and is through its handshake but for the answer to its request.
  struct Offer {
    std::unique_ptr<FrameChannel> channel;
    Greeted greeted;
    SessionRequest request;
  };
  // What an incoming request gets from this session.
  enum class Verdict : uint8_t { kWelcome, kUnknown, kStale, kLostRace };

  // `target` is where to connect to; unset for a session that can only be come to.
  Session(SessionHost& host, Policy policy, const Address& target, bool begins_connecting);
  ~Session() override;
  // Begins its life; once.
  void start();

  void send(std::unique_ptr<OutMessage> message) override;
  void withdraw(uint64_t tid, InlineFunction<void()> done) override;
  void remote_read(const RemoteKey& from, RegisteredSlice local, IoDone done) override;
  void remote_write(RegisteredSlice local, const RemoteKey& to, IoDone done) override;
  void revoke(const RemoteKey& key, InlineFunction<void()> done) override;
  void close() noexcept override;
  uint64_t link_generation() const noexcept override {
    return link_is_up() ? link_->generation() : 0;
  }
  LinkCapabilities link_capabilities() const noexcept override;

  // For the acceptor: whose request is it, what does it get, and here is its link.
  Policy policy() const noexcept { return policy_; }
  bool is_over() const noexcept { return is_ending_; }
  bool has_cookies(const Cookie& own, const Cookie& peers) const noexcept {
    return own_cookie_ == own && peer_cookie_ == peers;
  }
  const Cookie& peer_cookie() const noexcept { return peer_cookie_; }
  uint64_t generation() const noexcept { return generation_; }
  Verdict consider(const Greeted& greeted, const SessionRequest& request, const RaceRank& ours,
                   const RaceRank& theirs) const;
  void offer(std::unique_ptr<Offer> offer);
  // For Messenger::connect(), of a lossless peer that had come to us: from now on it connects too.
  void begin_connecting();

 private:
  using SessionResult = tl::expected<SessionReady, HandshakeFailure>;

  // session_life.cc
  Detached run();
  Task<std::error_code> connect_once();
  Task<SessionResult> request_session(FrameChannel& channel, uint64_t nonce);
  void adopt_offer();
  void adopt(std::unique_ptr<Link> link, const Greeted& greeted, const SessionReady& ready,
             uint64_t peer_in_seq);
  void reset(std::error_code why);
  void after_failed_connect(std::error_code why);
  std::chrono::nanoseconds pause_length();
  bool connects() const noexcept;
  bool is_same_peer(const Greeted& greeted) const;
  bool link_is_up() const noexcept { return link_ != nullptr && link_->is_up(); }
  Link* link_of(const RemoteKey& key, uint32_t bytes) noexcept;
  std::shared_ptr<Session> shared_self() {
    return std::static_pointer_cast<Session>(shared_from_this());
  }
  void wake();

  // SessionLinkOwner
  Bytes place_payload(const FrameHeader& header, ConstBytes front) override;
  void message_arrived(ReceivedFrame frame) override;
  void closed_by_peer() override;
  void link_is_idle() override;
  void messages_finished() override;
  void link_closed(std::error_code why) override;

  SessionHost& host_;
  const Policy policy_;
  bool begins_connecting_;  // else it waits to be come to, and connects only if it has to send

  bool is_lossy_ = false;
  bool was_reset_ = false;      // messages are dropped until the next session
  bool is_ending_ = false;      // close() was called, or there is no way to a next session
  bool retry_at_once_ = false;  // the link that was lost had been good
  Cookie own_cookie_ = Cookie::random();
  Cookie peer_cookie_;
  uint64_t generation_ = 0;  // of the newest link
  uint64_t in_seq_ = 0;
  uint64_t progress_ = 0;  // messages delivered and acknowledged when the last link ended
  SendQueue queue_;
  bool finish_is_posted_ = false;
  bool wake_is_posted_ = false;

  std::unique_ptr<SessionLink> link_;
  std::unique_ptr<Offer> offer_;
  ConnectAttempt* attempt_ = nullptr;      // while it is under way
  std::unique_ptr<FrameChannel> channel_;  // of our own connect
  std::error_code reset_after_link_;
  EventCenter::Clock::time_point link_changed_;
  Backoff backoff_;
  Inbox<std::error_code> link_ends_;
  Sleeper pause_;
};

}  // namespace lunar::msgr
