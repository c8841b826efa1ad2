// SPDX-License-Identifier: LGPL-2.1-or-later
// Sending to an OSD, and what happens to the ops in flight when its session or address changes.
//
// What may be sent again: after a reset the server's hello says which process it is (incarnation)
// and whether it still has this client's results. If it is the same process and has them, every op
// is sent again with its tid and answered once. If not, an op that changes an object and was not
// declared idempotent ends with kUnknownOutcome, and the others are sent again.
#include "common/log.h"
#include "objecter/objecter_impl.h"
#include "objecter/trace_values.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

constexpr std::chrono::seconds kTryNextAddress{3};

bool has_address(const OsdInfo& osd, const msgr::Address& address) noexcept {
  return std::find(osd.addresses.begin(), osd.addresses.end(), address) != osd.addresses.end();
}

}  // namespace

OsdSession& ObjecterImpl::session_of(OsdId osd) {
  std::unique_ptr<OsdSession>& slot = sessions_[osd];
  if (slot == nullptr) {
    slot = std::make_unique<OsdSession>(osd);
    counters_.osd_sessions.set(sessions_.size());
    update_session(*slot);
  }
  return *slot;
}

// Makes the session agree with the map.
void ObjecterImpl::update_session(OsdSession& session) {
  const OsdInfo* osd = targeting_.map()->find_osd(session.id());
  session.set_up(osd != nullptr && osd->up);
  // What is down keeps its connection: replies may still come, and it may be up again soon.
  if (!session.is_up()) return;
  if (session.server() != nullptr && has_address(*osd, session.server()->address())) return;
  session.set_address_index(0);
  connect_session(session, *osd);
}

void ObjecterImpl::connect_session(OsdSession& session, const OsdInfo& osd) {
  move_away(session);
  const auto& address = osd.addresses[session.address_index() % osd.addresses.size()];
  session.set_server(servers_.get(address));
  LUNAR_LOG(kObjecter, 5, "osd.{} is at {}", session.id(), address.to_string());
  if (session.server()->hello()) session_began(session);
  watch_addresses();
}

// Takes every op back from a connection that is about to be given up.
void ObjecterImpl::move_away(OsdSession& session) {
  if (session.server() == nullptr) return;
  for (Op& op : session.ops()) {
    withdraw(op);
    release_key(op);
    if (op.state != OpState::kSent) continue;
    op.state = OpState::kWaitSession;
    op.resend_reason = ResendReason::kNewMap;
  }
}

// An OSD with several addresses that does not answer at one is tried at the next.
void ObjecterImpl::watch_addresses() {
  if (address_timer_ != msgr::TimerId::kNone || is_shutting_down_) return;
  const auto should_move = [this](const OsdSession& session) {
    const OsdInfo* osd = targeting_.map()->find_osd(session.id());
    return session.is_up() && session.server() != nullptr && !session.server()->has_link() &&
           osd != nullptr && osd->addresses.size() > 1;
  };
  bool any = false;
  for (const auto& [id, session] : sessions_) any |= should_move(*session);
  if (!any) return;
  address_timer_ = center_.run_after(kTryNextAddress, [this, should_move] {
    address_timer_ = msgr::TimerId::kNone;
    for (const auto& [id, session] : sessions_) {
      if (!should_move(*session)) continue;
      session->set_address_index(session->address_index() + 1);
      connect_session(*session, *targeting_.map()->find_osd(id));
    }
    watch_addresses();
  });
}

// --- sending ---

void ObjecterImpl::try_send(Op& op) {
  // While another connection, or a server with a key, may use its buffers, this one must not.
  if (!op.session->is_ready() || op.withdrawals != 0 || op.key) return;
  ++op.attempt;
  op.state = OpState::kSent;
  op.was_sent = true;
  if (op.attempt > 1) {
    counters_.op_resend.add();
    LUNAR_TRACE(lunar_objecter, op_resend, op.request.io_id, op.tid, op.attempt,
                trace_value(op.resend_reason), op.osd, op.epoch);
  }
  if (op.kind == OpKind::kOsd) op.flush_mark = op.session->unflushed().mark();
  counters_.op_send.add();
  counters_.op_send_bytes.add(op.data_bytes);
  OpMessageOwner& owner = *this;
  op.session->server()->connection().send(std::make_unique<OpMessage>(op, owner));
}

void ObjecterImpl::send_waiting(OsdSession& session) {
  if (!session.is_ready()) return;
  for (Op& op : session.ops()) {
    if (op.state == OpState::kWaitSession) try_send(op);
  }
}

// Passes what is queued, and whatever throttles ops. Never overtakes the op: withdraw() came first.
void ObjecterImpl::send_cancel(Op& op) {
  op.session->server()->send(MessageType::kCancel, CancelNote{op.tid}, msgr::Priority::kHigh);
}

// --- the session begins and is lost ---

void ObjecterImpl::on_hello(const ServerRef& server, ConstBytes front) {
  const auto hello = decode_server_hello(front);
  if (!hello || server->hello()) {
    LUNAR_LOG(kObjecter, 0, "{} sent a hello that is {}, ignored", server->address().to_string(),
              hello ? "its second" : "damaged");
    return;
  }
  if (!maps_.accepts(*server, *hello)) return;
  server->on_hello(*hello);
  counters_.session_open.add();
  for (auto& [id, session] : sessions_) {
    if (session->server() == server) session_began(*session);
  }
  send_commands(server);
  maps_.on_hello(server);
}

void ObjecterImpl::session_began(OsdSession& session) {
  const ServerHello& hello = *session.server()->hello();
  if (hello.osd != session.id()) {
    LUNAR_ERROR(kObjecter, "{} is osd.{}, the cluster map says osd.{}: waiting for a newer map",
                session.server()->address().to_string(), hello.osd, session.id());
    return;
  }
  const bool is_remembered = session.remembers(hello);
  const bool is_same_process = session.incarnation() == hello.incarnation;
  if (session.incarnation() != 0 && !is_remembered) {
    LUNAR_LOG(kObjecter, 1, "osd.{} {}", session.id(),
              is_same_process ? "has forgotten this client" : "has restarted");
  }
  session.set_incarnation(hello.incarnation);
  for (Op& op : session.ops()) resume(session, op, is_remembered, is_same_process);
  send_waiting(session);
}

void ObjecterImpl::resume(OsdSession& session, Op& op, bool is_remembered, bool is_same_process) {
  if (op.state == OpState::kEnding) {
    if (!op.awaits_confirmation) return;
    if (is_same_process) {
      if (session.is_up()) send_cancel(op);
      return;
    }
    // Whoever was executing it is gone.
    op.awaits_confirmation = false;
    finish_if_free(op);
  } else if (op.state == OpState::kWaitSession && op.was_sent && !is_remembered) {
    if (op.is_repeatable) {
      op.was_sent = false;
    } else {
      counters_.op_unknown.add();
      end(op, OsdErrc::kUnknownOutcome);
    }
  }
}

void ObjecterImpl::session_lost(OsdSession& session) {
  for (Op& op : session.ops()) {
    release_key(op);  // its link is closed
    if (op.state != OpState::kSent) continue;
    op.state = OpState::kWaitSession;
    op.resend_reason = ResendReason::kSessionReset;
  }
}

}  // namespace lunar::objecter
