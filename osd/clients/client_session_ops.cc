// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <utility>

#include "common/log.h"
#include "osd/clients/client_session.h"

// One entry per tid: held, executing, or with a result. Reads keep no result, they are executed
// again. A remembered result goes when the client says it has seen it (oldest_tid), or, at the
// limit, when its messenger acknowledged the reply: with every reply of the limit on its way, new
// ops wait, and an acknowledgement is sure to come or the connection to end.

namespace lunar::osd {

void ClientSessions::submit(msgr::Connection& connection, SessionId id, ClientOpRef op) {
  Session* const session = find(id);
  if (session == nullptr) return;
  heard(*session, connection);
  op->client = session->client;
  op->session = id;
  if (session->state == State::kFenced) return reject(*session, *op, OsdErrc::kFenced);
  if (session->state == State::kRefused) return reject(*session, *op, OsdErrc::kBusy);
  const Tid tid = op->header.tid;
  const Tid oldest = op->header.oldest_tid;
  const auto known = session->entries.find(tid);
  if (known != session->entries.end()) {
    resend(*session, known->second, std::move(op));
    seen(*session, oldest);
    return;
  }
  seen(*session, oldest);
  Entry& entry = session->entries[tid];
  entry.op = std::move(op);
  if (!session->held.empty() || must_hold(*session, *entry.op)) {
    entry.op->state = ClientOpState::kHeld;
    session->held.push_back(tid);
    release_held(id);  // what was just seen may have made room
    return;
  }
  execute(*session, entry);
}

void ClientSessions::resend(Session& session, Entry& entry, ClientOpRef op) {
  if (entry.result) {
    reply(session, *op, entry.result);
    return;
  }
  // It executes, or will: the answer goes to the newest attempt.
  entry.op->header.attempt = std::max(entry.op->header.attempt, op->header.attempt);
}

bool ClientSessions::must_hold(Session& session, const ClientOp& op) {
  if (session.state == State::kWaiting || session.claiming) return true;
  if (op.changes() && !fences_.is_claimed(*session.client, session.nonce)) {
    claim(session);
    return true;
  }
  return !has_room(session);
}

// Before the first change: from then on no older start of this client is served, whatever restarts.
void ClientSessions::claim(Session& session) {
  session.claiming = true;
  fences_.claim(*session.client, session.nonce, [this, id = session.id](std::error_code error) {
    Session* const claimed = find(id);
    if (claimed == nullptr) return;
    claimed->claiming = false;
    if (!error) return release_held(id);
    LUNAR_ERROR(kOsd, "cannot record client {}: {}", claimed->client->to_string(), error.message());
    for (const Tid tid : std::exchange(claimed->held, {})) {
      const auto entry = claimed->entries.find(tid);
      if (entry == claimed->entries.end()) continue;
      reject(*claimed, *entry->second.op, wire_error(error));
      forget(*claimed, entry);
    }
  });
}

bool ClientSessions::has_room(Session& session) {
  const auto full = [&] {
    return session.results >= options_.max_results ||
           session.result_bytes >= options_.max_result_bytes;
  };
  while (full() && !session.delivered.empty()) {
    const auto entry = session.entries.find(session.delivered.front());
    session.delivered.pop_front();
    if (entry != session.entries.end() && entry->second.delivered) forget(session, entry);
  }
  return !full();
}

void ClientSessions::execute(Session& session, Entry& entry) {
  entry.executing = true;
  ++session.executing;
  host_.execute(entry.op);
}

void ClientSessions::release_held(SessionId id) {
  for (;;) {
    Session* const session = find(id);
    if (session == nullptr || session->held.empty()) return;
    const auto entry = session->entries.find(session->held.front());
    if (entry != session->entries.end()) {
      if (must_hold(*session, *entry->second.op)) return;
      session->held.pop_front();
      execute(*session, entry->second);
    } else {
      session->held.pop_front();
    }
  }
}

void ClientSessions::seen(Session& session, Tid oldest) {
  if (oldest <= session.oldest) return;
  session.oldest = oldest;
  for (auto at = session.entries.begin(); at != session.entries.end() && at->first < oldest;) {
    const auto here = at++;
    if (here->second.result) forget(session, here);
  }
}

void ClientSessions::remember(Session& session, Entry& entry, OpResultRef result) {
  entry.op.reset();
  entry.executing = false;
  ++session.results;
  session.result_bytes += cost(*result);
  entry.result = std::move(result);
}

void ClientSessions::forget(Session& session, std::map<Tid, Entry>::iterator entry) {
  if (entry->second.result) {
    --session.results;
    session.result_bytes -= cost(*entry->second.result);
  }
  session.entries.erase(entry);
}

void ClientSessions::finished(ClientOpRef op, OpResultRef result) {
  Session* const session = find(op->session);
  LUNAR_CHECK(session != nullptr, "an op outlived its session");
  const Tid tid = op->header.tid;
  const auto at = session->entries.find(tid);
  LUNAR_CHECK(at != session->entries.end() && at->second.executing, "an op ended twice");
  Entry& entry = at->second;
  --session->executing;
  const bool cancel_asked = entry.cancel_asked;
  // A FLUSH may have told of lost writes, which is told only once. An op whose payload could not be
  // had was not executed: it comes again, unless it was cancelled.
  const bool comes_again = result->header.error == OsdErrc::kRetryInline;
  const bool keep = (!comes_again || cancel_asked) && session->state != State::kFenced &&
                    tid >= session->oldest && (op->changes() || op->is(OpCode::kFlush));
  if (keep)
    remember(*session, entry, comes_again ? make_error_result(*op, OsdErrc::kCancelled) : result);
  else
    forget(*session, at);
  reply(*session, *op, std::move(result));
  if (cancel_asked && session->connection() != nullptr)
    host_.send_cancelled(*session->connection(), tid);
  settle(*session);
}

void ClientSessions::reply_delivered(SessionId id, uint64_t connection_id, Tid tid) {
  Session* const session = find(id);
  if (session == nullptr || session->connection() == nullptr ||
      session->connection()->id() != connection_id)
    return;
  const auto entry = session->entries.find(tid);
  if (entry == session->entries.end() || !entry->second.result || entry->second.delivered) return;
  entry->second.delivered = true;
  session->delivered.push_back(tid);
  if (!session->held.empty()) release_held(id);
}

void ClientSessions::cancel(msgr::Connection& connection, SessionId id, Tid tid) {
  Session* const session = find(id);
  if (session == nullptr) return;
  heard(*session, connection);
  const auto at = session->entries.find(tid);
  if (at != session->entries.end() && at->second.executing) {
    if (!host_.take_back(at->second.op)) {
      at->second.cancel_asked = at->second.op->is_given_up = true;
      return;
    }
    --session->executing;
  }
  if (at == session->entries.end() || !at->second.result) {
    // The op may still come, overtaken by the cancel: then it is answered by this.
    Entry& entry = at == session->entries.end() ? session->entries[tid] : at->second;
    auto result = std::make_shared<OpResult>();
    result->header.tid = tid;
    result->header.error = OsdErrc::kCancelled;
    if (entry.op) result->header.steps.resize(entry.op->header.steps.size());
    std::erase(session->held, tid);
    remember(*session, entry, std::move(result));
    if (session->results > 2 * options_.max_results) forget(*session, session->entries.find(tid));
  }
  host_.send_cancelled(connection, tid);
  release_held(id);
  if (Session* const still = find(id)) settle(*still);
}

void ClientSessions::reject(Session& session, const ClientOp& op, OsdErrc error) {
  reply(session, op, make_error_result(op, error));
}

// A client without a connection asks again when it is back.
void ClientSessions::reply(Session& session, const ClientOp& op, OpResultRef result) {
  if (session.connection() != nullptr)
    host_.send_reply(*session.connection(), op, std::move(result));
}

}  // namespace lunar::osd
