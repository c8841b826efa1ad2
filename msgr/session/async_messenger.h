// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "msgr/messenger.h"
#include "msgr/session/session.h"

namespace lunar::msgr {

// The Messenger: its listeners, the handshakes of links that came in, and the sessions.
// Loop-bound. Owns all of them; sessions that are handed out live on, ended.
class AsyncMessenger final : public Messenger, public SessionEnvironment {
 public:
  AsyncMessenger(EventCenter& center, NetworkStack& stack, MessengerOptions options,
                 const Keyring* keyring, PerfRegistry* perf, Dispatcher& dispatcher);
  ~AsyncMessenger() override;

  Outcome<Address> bind(const Address& address, Policy accepted) override;
  ConnectionRef connect(const Address& peer, Policy policy) override;
  std::vector<ConnectionRef> connections() const override;
  void on_keys_changed() override;
  const MessengerOptions& options() const noexcept override { return options_; }
  void shutdown(UniqueFunction<void()> done) override;

 private:
  struct Routed {
    RequestVerdict verdict = RequestVerdict::kUnknown;
    std::shared_ptr<Session> session;
    bool is_new = false;
  };

  // SessionEnvironment
  HandshakeParty make_party(const Link& link) const override;
  void dispose(std::unique_ptr<FrameChannel> channel) override;
  bool is_shutting_down() const noexcept override { return is_shutting_down_; }
  void on_session_ended(Session& session) override;

  // A handshake of a link that a peer made.
  struct IncomingHandshake {
    FrameChannel* channel;
    Address host;  // who made it: its address without the port; of IPv6, the /64
    const Greeted* greeted = nullptr;  // once it is known who it is
  };
  using IncomingHandshakes = std::list<IncomingHandshake>;

  // acceptor.cc: a link that came in, until a session has it.
  IncomingHandshakes::iterator enter(FrameChannel& channel);
  void leave(IncomingHandshakes::iterator place);
  void end_oldest_of(const Address& host);
  bool has_too_many_sessions(const std::string& entity) const;
  Detached accept(std::unique_ptr<Link> link, Policy policy);
  Routed route(Policy policy, const Greeted& greeted, const SessionRequest& request,
               const RaceRank& ours);
  std::shared_ptr<Session> find_session(Policy policy, const Greeted& greeted,
                                        const SessionRequest& request) const;
  Detached close_channel(std::unique_ptr<FrameChannel> channel);
  void end_if_idle();

  const MessengerOptions options_;
  std::unique_ptr<PerfRegistry> own_registry_;  // if we were given none
  SessionCounters session_counters_;
  std::vector<std::unique_ptr<Listener>> listeners_;
  std::vector<std::shared_ptr<Session>> sessions_;
  IncomingHandshakes incoming_;                 // oldest first
  std::map<Address, std::size_t> incoming_of_;  // how many of incoming_ each host has; none is 0
  int closing_channel_count_ = 0;
  bool is_shutting_down_ = false;
  UniqueFunction<void()> shutdown_done_;  // set from shutdown() until it is done
};

}  // namespace lunar::msgr
