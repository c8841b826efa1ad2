// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "msgr/connection.h"
#include "osd/clients/fence_table.h"
#include "osd/ops/client_op.h"

namespace lunar::osd {

// What sessions ask of the server. Calls come on its loop, and may come from inside the sessions'
// own methods.
class SessionHost {
 public:
  // Begins an op; the host calls ClientSessions::finished() later, once.
  virtual void execute(ClientOpRef op) = 0;
  // Takes an op back that has not begun: true, and finished() will not be called.
  virtual bool take_back(const ClientOpRef& op) = 0;
  virtual void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) = 0;
  virtual void send_cancelled(msgr::Connection& connection, Tid tid) = 0;

 protected:
  ~SessionHost() = default;
};

// The clients of this server, one session per (entity, instance, nonce), which outlives
// connections: a resend of an op that was executed is answered from memory, one of an op that is
// executing waits for it. A newer nonce fences older ones of the same client and is served when
// nothing of theirs executes any more.
// Loop-bound. Borrows the host and the table.
class ClientSessions {
 public:
  struct Options {
    std::chrono::nanoseconds timeout{std::chrono::minutes(1)};  // without a connection
    std::size_t max_results = 4096;                             // remembered per session
    std::size_t max_result_bytes = 8u << 20;                    // … and the data of them
    std::size_t max_sessions = 8192;
  };
  using Clock = std::chrono::steady_clock;
  using SessionId = uint64_t;  // never reused; 0 is none

  ClientSessions(SessionHost& host, FenceTable& fences, Options options);
  ~ClientSessions();

  // The session of this peer's start, made if there is none. The connection is borrowed until
  // close(). A start may have several: replies go to the one that was opened, or was heard, last.
  SessionId open(msgr::Connection& connection);
  // True if the peer's start has a session already: its results are remembered.
  bool remembers(const msgr::PeerIdentity& peer) const;
  void close(msgr::Connection& connection, SessionId id, Clock::time_point now);

  // Exactly one reply follows for each tid, unless the client cancels it or goes away.
  // REQUIRES, as cancel(): the connection that brought it is open()ed.
  void submit(msgr::Connection& connection, SessionId id, ClientOpRef op);
  // send_cancelled() follows once the op does not execute and will not, after its reply if it did.
  void cancel(msgr::Connection& connection, SessionId id, Tid tid);
  void finished(ClientOpRef op, OpResultRef result);
  // The peer's messenger has the reply (or the connection is gone: then it tells nothing).
  void reply_delivered(SessionId id, uint64_t connection_id, Tid tid);

  // The newest start of the client that this server knows; 0 if none.
  uint64_t newest_nonce(const ClientName& client) const;
  // Fences the client's starts that this server knows, by an operator's command.
  // `done` runs when nothing of theirs executes any more; at once if so already.
  void fence(const ClientName& client, uint64_t nonce, InlineFunction<void()> done);

  // Drops sessions that were without a connection for too long.
  void expire(Clock::time_point now);

  std::size_t size() const noexcept { return sessions_.size(); }
  std::string to_json() const;

 private:
  enum class State : uint8_t { kWaiting, kOpen, kFenced, kRefused };
  struct Entry {
    ClientOpRef op;  // null once there is a result
    OpResultRef result;
    bool executing = false;  // with the host
    bool delivered = false;  // the peer's messenger has the reply
    bool cancel_asked = false;
  };
  struct Session {
    SessionId id = 0;
    std::shared_ptr<const ClientName> client;
    uint64_t nonce = 0;
    State state = State::kWaiting;
    std::vector<msgr::Connection*> connections;  // that are up; the last one is answered
    std::map<Tid, Entry> entries;
    std::deque<Tid> held;       // in order of arrival
    std::deque<Tid> delivered;  // candidates to be forgotten at the limit
    Tid oldest = 0;
    std::size_t executing = 0;
    std::size_t results = 0;
    std::size_t result_bytes = 0;
    bool claiming = false;
    Clock::time_point closed;

    msgr::Connection* connection() const noexcept {
      return connections.empty() ? nullptr : connections.back();
    }
  };
  struct FenceWaiter {
    ClientName client;
    uint64_t nonce = 0;
    InlineFunction<void()> done;
  };
  using Family = std::vector<SessionId>;  // of one client, oldest first

  Session* find(SessionId id);
  static void heard(Session& session, msgr::Connection& connection);
  static void forget_deliveries(Session& session);
  static std::size_t cost(const OpResult& result) { return 256 + result.data_bytes(); }
  void fence_older(Session& session);
  void fence(Session& session);
  void open_if_alone(Session& session);
  void settle(Session& session);
  bool executes(const ClientName& client, uint64_t up_to_nonce) const;

  void resend(Session& session, Entry& entry, ClientOpRef op);
  bool must_hold(Session& session, const ClientOp& op);
  void claim(Session& session);
  void execute(Session& session, Entry& entry);
  void release_held(SessionId id);
  void seen(Session& session, Tid oldest);
  void remember(Session& session, Entry& entry, OpResultRef result);
  void forget(Session& session, std::map<Tid, Entry>::iterator entry);
  bool has_room(Session& session);
  void reject(Session& session, const ClientOp& op, OsdErrc error);
  void reply(Session& session, const ClientOp& op, OpResultRef result);
  void drop(SessionId id);

  SessionHost& host_;
  FenceTable& fences_;
  const Options options_;
  std::map<SessionId, Session> sessions_;
  std::map<ClientName, Family> families_;
  std::vector<FenceWaiter> fence_waiters_;
  SessionId next_id_ = 1;
};

}  // namespace lunar::osd
