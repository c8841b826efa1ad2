// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "msgr/connection.h"
#include "osd/clients/fence_table.h"
#include "osd/ops/client_op.h"

namespace lunar::osd {

// What client sessions ask of the server. Calls come on its loop, and may come from inside the
// sessions' own methods.
class ClientSessionsHost {
 public:
  // Begins an op; the host calls ClientSessions::on_executed() later, once.
  virtual void execute(ClientOpRef op) = 0;
  // Takes an op back that has not begun: true, and on_executed() will not be called.
  virtual bool take_back(const ClientOpRef& op) = 0;
  virtual void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) = 0;
  virtual void send_cancelled(msgr::Connection& connection, Tid tid) = 0;
  // The starts of this client up to this nonce are served no more.
  virtual void on_fenced(const ClientName& client, uint64_t up_to_nonce) {
    (void)client, (void)up_to_nonce;
  }

 protected:
  ~ClientSessionsHost() = default;
};

// One start of one client: the ops that it sent, what became of them, and the connections that it
// is answered on. One entry per tid: held, executing, or with a result. Results of changes and of
// FLUSH are remembered, so that a resend is answered and not executed again; a read is executed
// again. A remembered result goes when the client says that it has seen it (oldest_tid) or, at the
// limit, when its messenger has acknowledged the reply: while every reply of the limit is on its
// way new ops wait, and either an acknowledgement comes or the connection ends.
// Loop-bound. Borrows host, table and bounds. Shared with callbacks that may outlive it in
// ClientSessions, which owns it.
class ClientSession : public std::enable_shared_from_this<ClientSession> {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Id = uint64_t;  // never reused; 0 is none
  struct Limits {
    std::size_t max_results = 4096;           // remembered
    std::size_t max_result_bytes = 8u << 20;  // … and the data of them
    std::size_t max_held = 4096;              // ops that wait to begin; more are answered kBusy
  };
  // kWaiting: an older start of the client still executes ops; what comes is held.
  // kFenced, kRefused: for good; what comes is answered with an error.
  enum class State : uint8_t { kWaiting, kOpen, kFenced, kRefused };

  // What the sessions share of the memory for replies.
  struct ReplyMemory {
    std::shared_ptr<msgr::FairShares> shares;
    bool is_awaited = false;  // some session holds ops until there is more
  };

  ClientSession(ClientSessionsHost& host, FenceTable& fences, const Limits& limits,
                ReplyMemory& replies, Id id, std::shared_ptr<const ClientName> client,
                uint64_t nonce, State state);

  Id id() const noexcept { return id_; }
  const ClientName& client() const noexcept { return *client_; }
  uint64_t nonce() const noexcept { return nonce_; }
  State state() const noexcept { return state_; }
  bool is_served() const noexcept { return state_ == State::kOpen || state_ == State::kWaiting; }
  // Whether an op with this tid has come, or what became of it is remembered.
  bool knows(Tid tid) const { return entries_.contains(tid); }
  bool is_connected() const noexcept { return !connections_.empty(); }
  bool is_executing() const noexcept { return executing_ > 0; }
  // When the last connection went. REQUIRES: not is_connected().
  TimePoint closed_at() const noexcept { return closed_; }
  // Nothing is under way, and there has been no connection for `timeout`.
  bool is_expired(TimePoint now, std::chrono::nanoseconds timeout) const noexcept;

  // A connection of this start; shared until detach(). Replies go to the one that was attached, or
  // heard of, last.
  void attach(msgr::Connection& connection);
  void detach(msgr::Connection& connection, TimePoint now);

  // As in ClientSessions. REQUIRES: the connection is attached.
  void submit(msgr::Connection& connection, ClientOpRef op);
  void cancel(msgr::Connection& connection, Tid tid);
  void on_executed(ClientOpRef op, OpResultRef result);
  void on_delivered(uint64_t connection_id, Tid tid);

  // Begins what is held, as far as it may begin by now.
  void begin_held() {
    if (!held_.empty()) release_held();
  }
  // Those that are held since `limit` or before are told to come again.
  void answer_held(TimePoint limit);
  // No older start executes any more: begins what was held. REQUIRES: kWaiting.
  void open();
  // Takes back what has not begun and answers it with kFenced; what executes is waited for.
  void fence();
  // As fence(), and nobody is answered any more: it has no connection from now on.
  void revoke();
  // It is served again, once open() says so. What it sent while it was fenced was refused for good.
  // REQUIRES: State::kFenced.
  void let_in();

  // For the admin socket.
  struct Summary {
    std::size_t executing = 0;
    std::size_t held = 0;
    std::size_t results = 0;
    std::size_t result_bytes = 0;
    Tid oldest = 0;
  };
  Summary summary() const noexcept {
    return {executing_, held_.size(), results_, result_bytes_, oldest_};
  }

 private:
  // Has an op, or a result, and not both.
  struct Entry {
    ClientOpRef op;
    OpResultRef result;
    bool is_executing = false;  // with the host
    bool is_delivered = false;  // the peer's messenger has the reply
    bool was_executed = false;  // the result is of the store; false for one that a cancel made
    uint32_t attempt = 0;       // with a result: the newest that it answered
    bool wants_cancel = false;
  };
  using Entries = std::map<Tid, Entry>;

  static std::size_t cost(const OpResult& result) { return 256 + result.data_bytes(); }
  msgr::Connection* connection() const noexcept {
    return connections_.empty() ? nullptr : connections_.back().get();
  }
  void hear(msgr::Connection& connection);
  void forget_deliveries();
  void resend(Entry& entry, ClientOpRef op);
  bool must_hold(const ClientOp& op);
  void claim();
  void on_claimed(std::error_code error);
  void execute(Entry& entry);
  void release_held();
  void drop_seen(Tid oldest);
  void remember(Entry& entry, OpResultRef result);
  void repeat_reply(Tid tid, const Entry& entry);
  void forget(Entries::iterator entry);
  bool has_room();
  void reject(const ClientOp& op, OsdErrc error);
  void reply(const ClientOp& op, OpResultRef result);

  ClientSessionsHost& host_;
  FenceTable& fences_;
  const Limits& limits_;
  ReplyMemory& replies_;
  const msgr::FairShares::ShareRef reply_share_;
  const Id id_;
  const std::shared_ptr<const ClientName> client_;
  const uint64_t nonce_;
  State state_;
  bool is_claiming_ = false;                      // the fence table is being written; no op begins
  std::vector<msgr::ConnectionRef> connections_;  // that are up; the last one is answered
  TimePoint closed_;  // when the last connection went; only if there is none
  Entries entries_;
  std::deque<Tid> held_;          // have an entry whose op has not begun; in order of arrival
  std::deque<Tid> delivered_;     // candidates to be forgotten at the limit, oldest first
  Tid oldest_ = 0;                // the client has seen the results of all below
  std::size_t executing_ = 0;     // entries with is_executing
  std::size_t results_ = 0;       // entries with a result
  std::size_t result_bytes_ = 0;  // their cost()
};

}  // namespace lunar::osd
