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
      id_(id),
      client_(std::move(client)),
      nonce_(nonce),
      state_(state) {}

bool ClientSession::is_expired(TimePoint now, std::chrono::nanoseconds timeout) const noexcept {
  return connections_.empty() && executing_ == 0 && !is_claiming_ && now - closed_ >= timeout;
}

// --- connections ---

void ClientSession::attach(msgr::Connection& connection) {
  connections_.push_back(connection.shared_from_this());
  forget_deliveries();
}

void ClientSession::detach(msgr::Connection& connection, TimePoint now) {
  if (this->connection() == &connection) forget_deliveries();
  const auto is_it = [&](const msgr::ConnectionRef& each) { return each.get() == &connection; };
  if (std::erase_if(connections_, is_it) == 0 || !connections_.empty()) return;
  closed_ = now;
  // Nobody waits for what has not begun; the client sends it again if it comes back.
  for (const Tid tid : std::exchange(held_, {})) {
    const auto entry = entries_.find(tid);
    if (entry != entries_.end()) forget(entry);
  }
}

void ClientSession::hear(msgr::Connection& connection) {
  if (this->connection() == &connection) return;
  const auto at =
      std::find_if(connections_.begin(), connections_.end(),
                   [&](const msgr::ConnectionRef& each) { return each.get() == &connection; });
  LUNAR_CHECK(at != connections_.end(), "a message of a connection that is not attached");
  std::rotate(at, at + 1, connections_.end());
  forget_deliveries();
}

// What another connection delivered or lost is not known any more.
void ClientSession::forget_deliveries() {
  for (const Tid tid : std::exchange(delivered_, {})) {
    const auto entry = entries_.find(tid);
    if (entry != entries_.end()) entry->second.is_delivered = false;
  }
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
  const auto known = entries_.find(tid);
  if (known != entries_.end()) {
    resend(known->second, std::move(op));
    drop_seen(oldest);
    return;
  }
  drop_seen(oldest);
  if (held_.size() >= limits_.max_held) return reject(*op, OsdErrc::kBusy);
  Entry& entry = entries_[tid];
  entry.op = std::move(op);
  if (!held_.empty() || must_hold(*entry.op)) {
    entry.op->state = ClientOpState::kHeld;
    held_.push_back(tid);
    release_held();  // what the client has just seen may have made room
    return;
  }
  execute(entry);
}

void ClientSession::resend(Entry& entry, ClientOpRef op) {
  if (entry.result) {
    entry.attempt = std::max(entry.attempt, op->header.attempt);
    reply(*op, entry.result);
    return;
  }
  // It executes, or will: the answer goes to the newest attempt.
  entry.op->header.attempt = std::max(entry.op->header.attempt, op->header.attempt);
}

bool ClientSession::must_hold(const ClientOp& op) {
  if (state_ == State::kWaiting || is_claiming_) return true;
  if (op.changes() && !fences_.is_claimed(*client_, nonce_)) {
    claim();
    return true;
  }
  if (const uint64_t bytes = op.reply_bytes();
      bytes != 0 && !replies_.shares->allows(*reply_share_, bytes)) {
    replies_.is_awaited = true;
    return true;
  }
  return !has_room();
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
    const auto entry = entries_.find(tid);
    if (entry == entries_.end()) continue;
    reject(*entry->second.op, wire_error(error));
    forget(entry);
  }
}

void ClientSession::execute(Entry& entry) {
  entry.is_executing = true;
  ++executing_;
  if (const uint64_t bytes = entry.op->reply_bytes(); bytes != 0)
    entry.op->reply_share =
        std::make_shared<msgr::FairShares::Held>(replies_.shares->hold(reply_share_, bytes));
  host_.execute(entry.op);
}

void ClientSession::release_held() {
  const auto self = shared_from_this();  // the host may drop the session meanwhile
  while (!held_.empty()) {
    const auto entry = entries_.find(held_.front());
    if (entry != entries_.end() && must_hold(*entry->second.op)) return;
    held_.pop_front();
    if (entry != entries_.end()) execute(entry->second);
  }
}

// What is held keeps its payload, and its share of the throttle of all clients.
void ClientSession::answer_held(TimePoint limit) {
  while (!held_.empty()) {
    const auto entry = entries_.find(held_.front());
    if (entry != entries_.end() && entry->second.op->arrived > limit) return;
    held_.pop_front();
    if (entry == entries_.end()) continue;
    const ClientOpRef op = std::move(entry->second.op);
    forget(entry);
    reject(*op, OsdErrc::kRetryInline);
  }
}

void ClientSession::open() {
  LUNAR_CHECK(state_ == State::kWaiting, "a client session is opened twice");
  state_ = State::kOpen;
  release_held();
}

// --- results ---

bool ClientSession::has_room() {
  const auto is_full = [this] {
    return results_ >= limits_.max_results || result_bytes_ >= limits_.max_result_bytes;
  };
  while (is_full() && !delivered_.empty()) {
    const auto entry = entries_.find(delivered_.front());
    delivered_.pop_front();
    if (entry != entries_.end() && entry->second.is_delivered) forget(entry);
  }
  return !is_full();
}

// The client has seen the results of the ops before `oldest`.
void ClientSession::drop_seen(Tid oldest) {
  if (oldest <= oldest_) return;
  oldest_ = oldest;
  for (auto at = entries_.begin(); at != entries_.end() && at->first < oldest;) {
    const auto here = at++;
    if (here->second.result) forget(here);
  }
}

void ClientSession::remember(Entry& entry, OpResultRef result) {
  if (entry.op) entry.attempt = entry.op->header.attempt;
  entry.op.reset();
  entry.is_executing = false;
  ++results_;
  result_bytes_ += cost(*result);
  entry.result = std::move(result);
}

void ClientSession::forget(Entries::iterator entry) {
  if (entry->second.result) {
    --results_;
    result_bytes_ -= cost(*entry->second.result);
  }
  entries_.erase(entry);
}

void ClientSession::on_delivered(uint64_t connection_id, Tid tid) {
  if (connection() == nullptr || connection()->id() != connection_id) return;
  const auto entry = entries_.find(tid);
  if (entry == entries_.end() || !entry->second.result || entry->second.is_delivered) return;
  entry->second.is_delivered = true;
  delivered_.push_back(tid);
  if (!held_.empty()) release_held();
}

// --- an op ends ---

void ClientSession::on_executed(ClientOpRef op, OpResultRef result) {
  const Tid tid = op->header.tid;
  const auto at = entries_.find(tid);
  LUNAR_CHECK(at != entries_.end() && at->second.is_executing, "an op ended twice");
  Entry& entry = at->second;
  --executing_;
  const bool wants_cancel = entry.wants_cancel;
  // A FLUSH may have told of lost writes, which is told only once, and a NOTIFY has told others. An
  // op whose payload could not be had was not executed: it comes again, unless it was cancelled.
  // One below oldest_ has moved here from another server, and may come again too: the client waits
  // for it.
  const bool comes_again = result->header.error == OsdErrc::kRetryInline;
  const bool is_kept = (!comes_again || wants_cancel) && state_ != State::kFenced &&
                       (op->changes() || op->is(OpCode::kFlush) || op->is(OpCode::kNotify));
  if (is_kept) {
    entry.was_executed = !comes_again;
    remember(entry, comes_again ? make_error_result(*op, OsdErrc::kCancelled) : result);
  } else {
    forget(at);
  }
  reply(*op, std::move(result));
  op->reply_share.reset();  // the reply has it
  if (wants_cancel && connection() != nullptr) host_.send_cancelled(*connection(), tid);
}

void ClientSession::cancel(msgr::Connection& connection, Tid tid) {
  hear(connection);
  const auto at = entries_.find(tid);
  if (at != entries_.end() && at->second.is_executing) {
    if (!host_.take_back(at->second.op)) {
      at->second.wants_cancel = at->second.op->is_given_up = true;
      return;
    }
    --executing_;
    at->second.op->reply_share.reset();
  }
  if (at == entries_.end() || !at->second.result) {
    // The op may still come, overtaken by the cancel: then it is answered by this.
    Entry& entry = at == entries_.end() ? entries_[tid] : at->second;
    auto result = std::make_shared<OpResult>();
    result->header.tid = tid;
    result->header.error = OsdErrc::kCancelled;
    if (entry.op) result->header.steps.resize(entry.op->header.steps.size());
    std::erase(held_, tid);
    remember(entry, std::move(result));
    if (results_ > 2 * limits_.max_results) forget(entries_.find(tid));
  }
  // A reply that was lost with another connection comes first: CANCELLED alone would say that the
  // op was not executed.
  const auto ended = entries_.find(tid);
  if (ended != entries_.end() && ended->second.was_executed && !ended->second.is_delivered)
    repeat_reply(tid, ended->second);
  host_.send_cancelled(connection, tid);
  release_held();
}

void ClientSession::repeat_reply(Tid tid, const Entry& entry) {
  ClientOp op;
  op.header.tid = tid;
  op.header.attempt = entry.attempt;
  op.client = client_;
  op.session = id_;
  reply(op, entry.result);
}

void ClientSession::fence() {
  state_ = State::kFenced;
  held_.clear();
  for (auto at = entries_.begin(); at != entries_.end();) {
    const auto here = at++;
    Entry& entry = here->second;
    if (entry.is_executing) {
      if (!host_.take_back(entry.op)) {
        entry.op->is_given_up = true;
        continue;  // inside the store: waited for
      }
      entry.is_executing = false;
      --executing_;
      entry.op->reply_share.reset();
    }
    if (entry.op) reject(*entry.op, OsdErrc::kFenced);
    forget(here);
  }
}

void ClientSession::revoke() {
  connections_.clear();
  if (state_ != State::kFenced) fence();
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
