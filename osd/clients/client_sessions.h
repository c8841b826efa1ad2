// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "osd/clients/client_session.h"

namespace lunar::osd {

// The clients of this server, one session per (entity, instance, nonce), which outlives
// connections: a resend of an op that was executed is answered from memory, one of an op that is
// executing waits for it. A newer nonce fences older ones of the same client and is served when
// nothing of theirs executes any more.
// Loop-bound. Borrows the host and the table.
class ClientSessions {
 public:
  struct Options {
    std::chrono::nanoseconds timeout{std::chrono::minutes(1)};  // without a connection
    ClientSession::Limits limits{};                             // of each session
    std::size_t max_sessions = 8192;
    std::size_t max_sessions_of_entity = 2048;
    uint64_t reply_bytes = 32u << 20;  // data of replies, of one session; of all, three times that
    uint64_t result_bytes = 128u << 20;  // results that are remembered, of all sessions
    uint64_t max_held = 65536;           // ops that wait in their sessions, of all
  };
  using TimePoint = ClientSession::TimePoint;
  using SessionId = ClientSession::Id;

  ClientSessions(ClientSessionsHost& host, FenceTable& fences, Options options);
  ~ClientSessions();

  // The session of this peer's start, made if there is none. The connection is shared until
  // close(). A start may have several: replies go to the one that was opened, or was heard, last.
  SessionId open(msgr::Connection& connection);
  // True if the peer's start has a session already: its results are remembered.
  bool remembers(const msgr::PeerIdentity& peer) const;
  void close(msgr::Connection& connection, SessionId id, TimePoint now);
  // Whether submit() answers this sending of an op with this tid from what is remembered, or lets
  // it wait for the one that came before.
  bool knows(SessionId id, Tid tid, uint32_t attempt) const;

  // Exactly one reply follows for each tid, unless the client cancels it or goes away.
  // REQUIRES, as cancel(): the connection that brought it is open()ed.
  void submit(msgr::Connection& connection, SessionId id, ClientOpRef op);
  // send_cancelled() follows once the op does not execute and will not, after its reply if it did.
  void cancel(msgr::Connection& connection, SessionId id, const objecter::CancelNote& note);
  void on_executed(ClientOpRef op, OpResultRef result);
  // The peer's messenger has the reply (or the connection is gone: then it tells nothing).
  void on_delivered(SessionId id, uint64_t connection_id, Tid tid);

  // As ClientSession::hold_reply(). Nothing for a session that is gone.
  msgr::FairShares::Held hold_reply(SessionId id, uint64_t bytes) const;

  // The newest start of the client that this server knows; 0 if none.
  uint64_t newest_nonce(const ClientName& client) const;
  // The clients of the entity that have sessions here.
  std::vector<ClientName> clients_of(const std::string& entity) const;
  // Fences the client's starts up to `nonce`, which the fence table refuses already. `done(true)`
  // runs when nothing of theirs executes any more, `done(false)` when the table allows that start
  // again before; at once if it is so already.
  void fence(const ClientName& client, uint64_t nonce, UniqueFunction<void(bool)> done);
  // The same of all starts of the entity that are here.
  void fence_entity(const std::string& entity, UniqueFunction<void(bool)> done);
  // The fence table may allow the client again: then its newest start is served, if it is here.
  void unfence(const ClientName& client);

  // Whoever the entity's sessions belong to may not be here any more: they lose their connections,
  // what has not begun is taken back, and their watches end. Not recorded: the same start can come
  // back, and then begins anew. `done` runs when nothing of theirs executes any more; at once if it
  // is so already. Returns the sessions, which are used no more.
  std::set<SessionId> revoke(const std::string& entity, UniqueFunction<void()> done);

  // Begins what was held as replies had no memory left, if some may have come free.
  void begin_held();
  // Those held by any session since `limit` or before are told to come again: nothing that they
  // wait for may need what they hold.
  void answer_held(TimePoint limit);
  // Drops sessions that were without a connection for too long.
  void expire(TimePoint now);

  std::size_t size() const noexcept { return sessions_.size(); }
  std::string to_json() const;

 private:
  // The starts of a client up to a nonce.
  struct FencedStarts {
    ClientName client;
    uint64_t nonce = 0;
  };
  struct FenceWaiter {
    std::vector<FencedStarts> starts;
    UniqueFunction<void(bool)> done;
  };
  struct RevocationWaiter {
    std::set<SessionId> sessions;
    UniqueFunction<void()> done;
  };
  // The sessions of one client, oldest first; each is in sessions_. Never empty.
  using ClientStarts = std::vector<SessionId>;

  ClientSession* find(SessionId id) const;
  bool can_make_room_for(const std::string& entity);
  void fence_starts(std::vector<FencedStarts> starts, UniqueFunction<void(bool)> done);
  void fence_older(const ClientSession& session);
  void shut_out(const std::vector<SessionId>& ids, ClientSession::State state);
  void open_if_alone(ClientSession& session);
  void on_ops_ended(ClientSession& session);
  void answer_fences();
  void answer_revocations();
  bool are_fenced(const std::vector<FencedStarts>& starts) const;
  bool are_executing(const std::vector<FencedStarts>& starts) const;
  void drop(SessionId id);

  ClientSessionsHost& host_;
  FenceTable& fences_;
  const Options options_;
  ClientSession::ReplyMemory replies_;
  std::map<std::string, std::size_t> sessions_of_;  // how many each entity has; none is 0
  std::map<SessionId, std::shared_ptr<ClientSession>> sessions_;
  std::map<ClientName, ClientStarts> starts_of_;
  std::vector<FenceWaiter> fence_waiters_;
  std::vector<RevocationWaiter> revocation_waiters_;
  SessionId next_id_ = 1;
};

}  // namespace lunar::osd
