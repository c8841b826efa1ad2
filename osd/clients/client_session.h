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
#include "objecter/protocol/control.h"
#include "osd/clients/fence_table.h"
#include "osd/clients/session_results.h"
#include "osd/ops/client_op.h"

namespace lunar::osd {

// What client sessions ask of the server. Calls come on its loop, and may come from inside the
// sessions' own methods.
class ClientSessionsHost {
 public:
  // Begins an op; the host calls ClientSessions::on_executed() later, once.
  virtual void execute(ClientOpRef op) = 0;
  // Takes those of the ops back that have not begun, all of them before another op begins in their
  // place. Returns them: on_executed() will not be called for them.
  virtual std::vector<ClientOpRef> take_back(const std::vector<ClientOpRef>& ops) = 0;
  virtual void send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) = 0;
  // Says that what the client's cancel named will not be executed, by that very note.
  virtual void send_cancelled(msgr::Connection& connection, const objecter::CancelNote& note) = 0;
  // The starts of this client up to this nonce are served no more.
  virtual void on_fenced(const ClientName& client, uint64_t up_to_nonce) {
    (void)client, (void)up_to_nonce;
  }

 protected:
  ~ClientSessionsHost() = default;
};

// One start of one client: the ops that it sent, and the connections that it is answered on. Each
// tid is that of an op which is held or executes, or has a result, or is not known. Results of
// changes and of FLUSH are remembered; a read is executed again. While every reply of the limit of
// results is on its way new ops wait, and either an acknowledgement comes or the connection ends.
// Loop-bound. Borrows host, table and bounds. Shared with callbacks that may outlive it in
// ClientSessions, which owns it.
class ClientSession : public std::enable_shared_from_this<ClientSession> {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  using Id = uint64_t;  // never reused; 0 is none
  struct Limits {
    std::size_t max_results = 4096;           // remembered
    std::size_t max_result_bytes = 8u << 20;  // … and the data of them
    // Ops that wait to begin; more are answered kBusy, as those above the entity's share.
    std::size_t max_held = 4096;
  };
  // kWaiting: an older start of the client still executes ops; what comes is held.
  // kFenced, kRefused: what comes is answered with an error; for good, unless let_in() ends a
  // fence. kRevoked: it has no connection, and is there only until nothing of it executes.
  enum class State : uint8_t { kWaiting, kOpen, kFenced, kRefused, kRevoked };

  // What the sessions share of the memory for replies, for results that are remembered, and, in
  // ops, for those that are held.
  struct ReplyMemory {
    std::shared_ptr<msgr::FairShares> shares;
    std::shared_ptr<msgr::FairShares> results;
    std::shared_ptr<msgr::FairShares> held;
    bool is_awaited = false;  // some session holds ops until there is more of either
  };

  ClientSession(ClientSessionsHost& host, FenceTable& fences, const Limits& limits,
                ReplyMemory& replies, Id id, std::shared_ptr<const ClientName> client,
                uint64_t nonce, State state);

  Id id() const noexcept { return id_; }
  const ClientName& client() const noexcept { return *client_; }
  uint64_t nonce() const noexcept { return nonce_; }
  State state() const noexcept { return state_; }
  bool is_served() const noexcept { return state_ == State::kOpen || state_ == State::kWaiting; }
  // It was served, and is no more.
  bool is_shut_out() const noexcept {
    return state_ == State::kFenced || state_ == State::kRevoked;
  }
  // Whether an op with this tid has come, or what became of it is remembered, so that this sending
  // of it is answered by that.
  bool knows(Tid tid, uint32_t attempt) const;
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
  void cancel(msgr::Connection& connection, const objecter::CancelNote& note);
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
  // Serves it no more: answers what is held with kFenced, and adds to `executing` the ops that the
  // host has, to be taken back; those that have begun are waited for. With kRevoked nobody is
  // answered any more. REQUIRES: `state` is kFenced or kRevoked.
  void shut_out(State state, std::vector<ClientOpRef>& executing);
  // The host has taken it back: it is answered with kFenced. REQUIRES: is_shut_out().
  void on_taken_back(const ClientOpRef& op);
  // It is served again, once open() says so. What it sent while it was fenced was refused for good.
  // REQUIRES: State::kFenced.
  void let_in();

  // A share of the memory for replies, for one that is not an op's; nothing if it has no room.
  msgr::FairShares::Held hold_reply(uint64_t bytes) const {
    if (!replies_.shares->allows(*reply_share_, bytes)) return {};
    return replies_.shares->hold(reply_share_, bytes);
  }

  // For the admin socket.
  struct Summary {
    std::size_t executing = 0;
    std::size_t held = 0;
    std::size_t results = 0;
    std::size_t result_bytes = 0;
    Tid oldest = 0;
  };
  Summary summary() const noexcept {
    return {executing_, held_.size(), results_.size(), results_.bytes(), results_.oldest()};
  }

 private:
  struct Entry {
    ClientOpRef op;               // never null
    bool is_executing = false;    // with the host; else in held_
    bool wants_cancel = false;    // only if it executes
    uint32_t given_up = 0;        // CancelNote::attempt; only with wants_cancel
    msgr::FairShares::Held held;  // 1, while it is in held_
  };
  using Ops = std::map<Tid, Entry>;

  msgr::Connection* connection() const noexcept {
    return connections_.empty() ? nullptr : connections_.back().get();
  }
  void hear(msgr::Connection& connection);
  bool try_resend(const ClientOpRef& op);
  static bool takes_reply_share(const ClientOp& op) noexcept;
  bool must_hold(const ClientOp& op);
  void claim();
  void on_claimed(std::error_code error);
  void execute(Entry& entry);
  void release_held();
  bool try_remember_cancelled(const objecter::CancelNote& note);
  void repeat_lost_reply(Tid tid);
  void reject(const ClientOp& op, OsdErrc error);
  void reply(const ClientOp& op, OpResultRef result);

  ClientSessionsHost& host_;
  FenceTable& fences_;
  const Limits& limits_;
  ReplyMemory& replies_;
  const msgr::FairShares::ShareRef reply_share_;
  const msgr::FairShares::ShareRef held_share_;
  const Id id_;
  const std::shared_ptr<const ClientName> client_;
  const uint64_t nonce_;
  State state_;
  bool is_claiming_ = false;                      // the fence table is being written; no op begins
  std::vector<msgr::ConnectionRef> connections_;  // that are up; the last one is answered
  TimePoint closed_;           // when the last connection went; only if there is none
  Ops ops_;                    // without a result
  std::deque<Tid> held_;       // those of ops_ that have not begun, in order of arrival
  std::size_t executing_ = 0;  // those of ops_ that have
  SessionResults results_;     // of ops that are not in ops_
};

}  // namespace lunar::osd
