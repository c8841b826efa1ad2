// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/clients/client_session.h"

#include <algorithm>
#include <utility>

#include "common/log.h"

namespace lunar::osd {

ClientSession::ClientSession(ClientSessionsHost& host, FenceTable& fences, const Limits& limits,
                             ReplyMemory& replies, Id id, std::shared_ptr<const ClientName> client,
                             uint64_t nonce, State state)
    : host_(host),
      fences_(fences),
      limits_(limits),
      replies_(replies),
      reply_share_(replies.shares->open(client->entity)),
      held_share_(replies.held->open(client->entity)),
      id_(id),
      client_(std::move(client)),
      nonce_(nonce),
      state_(state),
      results_({limits.max_results, limits.max_result_bytes}, replies.results, client_->entity) {}

bool ClientSession::is_expired(TimePoint now, std::chrono::nanoseconds timeout) const noexcept {
  return connections_.empty() && executing_ == 0 && !is_claiming_ && now - closed_ >= timeout;
}

bool ClientSession::knows(Tid tid, uint32_t attempt) const {
  if (ops_.contains(tid)) return true;
  const SessionResults::Entry* const known = results_.find(tid);
  return known != nullptr && known->is_answer_to(attempt);
}

// --- connections ---

void ClientSession::attach(msgr::Connection& connection) {
  connections_.push_back(connection.shared_from_this());
  results_.forget_deliveries();
}

void ClientSession::detach(msgr::Connection& connection, TimePoint now) {
  if (this->connection() == &connection) results_.forget_deliveries();
  const auto is_it = [&](const msgr::ConnectionRef& each) { return each.get() == &connection; };
  if (std::erase_if(connections_, is_it) == 0 || !connections_.empty()) return;
  closed_ = now;
  // Nobody waits for what has not begun; the client sends it again if it comes back.
  for (const Tid tid : std::exchange(held_, {})) ops_.erase(tid);
}

void ClientSession::hear(msgr::Connection& connection) {
  if (this->connection() == &connection) return;
  const auto at =
      std::find_if(connections_.begin(), connections_.end(),
                   [&](const msgr::ConnectionRef& each) { return each.get() == &connection; });
  LUNAR_CHECK(at != connections_.end(), "a message of a connection that is not attached");
  std::rotate(at, at + 1, connections_.end());
  results_.forget_deliveries();
}

// --- an op arrives ---

void ClientSession::submit(msgr::Connection& connection, ClientOpRef op) {
  hear(connection);
  op->client = client_;
  op->session = id_;
  op->nonce = nonce_;
  if (state_ == State::kFenced) return reject(*op, OsdErrc::kFenced);
  if (state_ == State::kRefused) return reject(*op, OsdErrc::kBusy);
  const Tid tid = op->header.tid;
  const Tid oldest = op->header.oldest_tid;
  const bool is_resend = try_resend(op);
  results_.drop_seen(oldest);
  if (is_resend) return;
  if (held_.size() >= limits_.max_held) return reject(*op, OsdErrc::kBusy);
  Entry& entry = ops_[tid];
  entry.op = std::move(op);
  if (!held_.empty() || must_hold(*entry.op)) {
    if (!replies_.held->allows(*held_share_, 1)) {
      const ClientOpRef refused = std::move(entry.op);
      ops_.erase(tid);
      return reject(*refused, OsdErrc::kBusy);
    }
    entry.op->state = ClientOpState::kHeld;
    entry.held = replies_.held->hold(held_share_, 1);
    held_.push_back(tid);
    release_held();  // what the client has just seen may have made room
    return;
  }
  execute(entry);
}

// Answers an op that has a result. The answer of one that executes, or will, goes to the newest
// attempt.
bool ClientSession::try_resend(const ClientOpRef& op) {
  const Tid tid = op->header.tid;
  const SessionResults::Entry* const known = results_.find(tid);
  if (known != nullptr && !known->is_answer_to(op->header.attempt)) {
    results_.forget(tid);
  } else if (known != nullptr) {
    const OpResultRef result = known->result;
    results_.note_attempt(tid, op->header.attempt);
    reply(*op, result);
    return true;
  }
  const auto at = ops_.find(tid);
  if (at == ops_.end()) return false;
  uint32_t& attempt = at->second.op->header.attempt;
  attempt = std::max(attempt, op->header.attempt);
  return true;
}

// A NOTIFY ends when others have answered, whose answers may have to wait for replies of their own.
// So what it needs, up to its reply, is of the shares of notifies (PendingNotifies), and in
// nobody's way here.
bool ClientSession::takes_reply_share(const ClientOp& op) noexcept {
  return !op.is(OpCode::kNotify) && op.reply_bytes() != 0;
}

bool ClientSession::must_hold(const ClientOp& op) {
  if (state_ == State::kWaiting || is_claiming_) return true;
  if (op.changes() && !fences_.is_claimed(*client_, nonce_)) {
    claim();
    return true;
  }
  if (takes_reply_share(op) && !replies_.shares->allows(*reply_share_, op.reply_bytes())) {
    replies_.is_awaited = true;
    return true;
  }
  if (results_.has_room()) return false;
  replies_.is_awaited |= !results_.has_share();
  return true;
}

// Before the first change: from then on no older start of this client is served, whatever restarts.
void ClientSession::claim() {
  is_claiming_ = true;
  fences_.claim(*client_, nonce_, [weak = weak_from_this()](std::error_code error) {
    if (const auto session = weak.lock()) session->on_claimed(error);
  });
}

void ClientSession::on_claimed(std::error_code error) {
  is_claiming_ = false;
  if (!error) return release_held();
  LUNAR_ERROR(kOsd, "cannot record client {}: {}", client_->to_string(), error.message());
  for (const Tid tid : std::exchange(held_, {})) {
    const auto at = ops_.find(tid);
    if (at == ops_.end()) continue;
    const ClientOpRef op = std::move(at->second.op);
    ops_.erase(at);
    reject(*op, wire_error(error));
  }
}

void ClientSession::execute(Entry& entry) {
  entry.is_executing = true;
  entry.held.give_back();
  ++executing_;
  if (takes_reply_share(*entry.op))
    entry.op->reply_share = std::make_shared<msgr::FairShares::Held>(
        replies_.shares->hold(reply_share_, entry.op->reply_bytes()));
  host_.execute(entry.op);
}

void ClientSession::release_held() {
  const auto self = shared_from_this();  // the host may drop the session meanwhile
  while (!held_.empty()) {
    Entry& entry = ops_.at(held_.front());
    if (must_hold(*entry.op)) return;
    held_.pop_front();
    execute(entry);
  }
}

// What is held keeps its payload, and its share of the throttle of all clients.
void ClientSession::answer_held(TimePoint limit) {
  while (!held_.empty()) {
    const auto at = ops_.find(held_.front());
    LUNAR_CHECK(at != ops_.end(), "an op is held and not there");
    if (at->second.op->arrived > limit) return;
    held_.pop_front();
    const ClientOpRef op = std::move(at->second.op);
    ops_.erase(at);
    reject(*op, OsdErrc::kRetryInline);
  }
}

void ClientSession::open() {
  LUNAR_CHECK(state_ == State::kWaiting, "a client session is opened twice");
  state_ = State::kOpen;
  release_held();
}

void ClientSession::on_delivered(uint64_t connection_id, Tid tid) {
  if (connection() == nullptr || connection()->id() != connection_id) return;
  if (results_.on_delivered(tid)) begin_held();
}

// --- an op ends ---

void ClientSession::on_executed(ClientOpRef op, OpResultRef result) {
  const Tid tid = op->header.tid;
  const auto at = ops_.find(tid);
  LUNAR_CHECK(at != ops_.end() && at->second.is_executing, "an op ended twice");
  const bool wants_cancel = at->second.wants_cancel;
  const uint32_t given_up = at->second.given_up;
  ops_.erase(at);
  --executing_;
  // A FLUSH may have told of lost writes, which is told only once, and a NOTIFY has told others. An
  // op whose payload could not be had was not executed: it comes again, unless it was cancelled.
  // One below oldest() has moved here from another server, and may come again too: the client
  // waits for it.
  const bool comes_again = result->header.error == OsdErrc::kRetryInline;
  const bool is_kept = (!comes_again || wants_cancel) && is_served() &&
                       (op->changes() || op->is(OpCode::kFlush) || op->is(OpCode::kNotify));
  if (is_kept)
    results_.remember(tid, {comes_again ? make_error_result(*op, OsdErrc::kCancelled) : result,
                            op->header.attempt, !comes_again, false, comes_again && given_up != 0});
  if (op->reply_share != nullptr) op->reply_share->resize(result->held_bytes());
  reply(*op, std::move(result));
  op->reply_share.reset();  // the reply has it
  if (wants_cancel && connection() != nullptr) host_.send_cancelled(*connection(), {tid, given_up});
}

void ClientSession::cancel(msgr::Connection& connection, const objecter::CancelNote& note) {
  const Tid tid = note.tid;
  hear(connection);
  const auto at = ops_.find(tid);
  if (at != ops_.end() && at->second.is_executing) {
    if (host_.take_back({at->second.op}).empty()) {
      at->second.wants_cancel = at->second.op->is_given_up = true;
      at->second.given_up = note.attempt;
      return;
    }
    --executing_;
    at->second.op->reply_share.reset();
  }
  bool is_certain = true;
  if (results_.find(tid) == nullptr)
    is_certain = try_remember_cancelled(note);
  else
    results_.cancel_again(tid, note.attempt);
  // A reply that was lost with another connection comes first: CANCELLED alone would say that the
  // op was not executed.
  repeat_lost_reply(tid);
  if (is_certain) host_.send_cancelled(connection, note);
  release_held();
}

// The op is not executed: it was held or taken back, or may still come, overtaken by the cancel.
// Then it is answered by this. False if there was no room to remember that.
bool ClientSession::try_remember_cancelled(const objecter::CancelNote& note) {
  const Tid tid = note.tid;
  auto result = std::make_shared<OpResult>();
  result->header.tid = tid;
  result->header.error = OsdErrc::kCancelled;
  uint32_t attempt = note.attempt;
  bool is_here = false;
  if (const auto at = ops_.find(tid); at != ops_.end()) {
    attempt = std::max(attempt, at->second.op->header.attempt);
    result->header.steps.resize(at->second.op->header.steps.size());
    std::erase(held_, tid);
    ops_.erase(at);
    is_here = true;
  }
  // While it is not served nothing of it is executed, whatever comes.
  if (!is_served()) return true;
  return results_.try_remember(tid,
                               {std::move(result), attempt, false, false, note.attempt != 0}) ||
         is_here;
}

void ClientSession::repeat_lost_reply(Tid tid) {
  const SessionResults::Entry* const ended = results_.find(tid);
  if (ended == nullptr || !ended->was_executed || ended->is_delivered) return;
  ClientOp op;
  op.header.tid = tid;
  op.header.attempt = ended->attempt;
  op.client = client_;
  op.session = id_;
  reply(op, ended->result);
}

void ClientSession::shut_out(State state, std::vector<ClientOpRef>& executing) {
  state_ = state;
  if (state == State::kRevoked) connections_.clear();
  results_.clear();
  for (const Tid tid : std::exchange(held_, {})) {
    const auto at = ops_.find(tid);
    const ClientOpRef op = std::move(at->second.op);
    ops_.erase(at);
    reject(*op, OsdErrc::kFenced);
  }
  for (const auto& [tid, entry] : ops_) {
    entry.op->is_given_up = true;  // if it is inside the store
    executing.push_back(entry.op);
  }
}

void ClientSession::on_taken_back(const ClientOpRef& op) {
  LUNAR_CHECK(is_shut_out(), "an op of a client that is served is taken back");
  ops_.erase(op->header.tid);
  --executing_;
  op->reply_share.reset();
  reject(*op, OsdErrc::kFenced);
}

void ClientSession::let_in() {
  LUNAR_CHECK(state_ == State::kFenced, "a client session that is not fenced is let in");
  state_ = State::kWaiting;
}

void ClientSession::reject(const ClientOp& op, OsdErrc error) {
  reply(op, make_error_result(op, error));
}

// A client without a connection asks again when it is back.
void ClientSession::reply(const ClientOp& op, OpResultRef result) {
  if (connection() != nullptr) host_.send_reply(*connection(), op, std::move(result));
}

}  // namespace lunar::osd
