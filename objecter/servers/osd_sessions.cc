// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/osd_sessions.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "objecter/ops/op_message.h"
#include "objecter/ops/trace_reasons.h"
#include "tracing/tracepoints.h"

namespace lunar::objecter {
namespace {

constexpr std::chrono::seconds kTryNextAddress{3};

bool has_address(const OsdInfo& osd, const msgr::Address& address) noexcept {
  return std::find(osd.addresses.begin(), osd.addresses.end(), address) != osd.addresses.end();
}

}  // namespace

OsdSessions::OsdSessions(msgr::EventCenter& center, ServerTable& servers, PayloadDelivery& delivery,
                         OpEnding& ending, UnconfirmedChanges& unconfirmed,
                         ObjecterCounters& counters)
    : center_(center),
      servers_(servers),
      delivery_(delivery),
      ending_(ending),
      unconfirmed_(unconfirmed),
      counters_(counters) {}

void OsdSessions::shut_down() {
  is_shut_down_ = true;
  center_.cancel(std::exchange(address_timer_, msgr::TimerId::kNone));
  center_.cancel(std::exchange(forget_timer_, msgr::TimerId::kNone));
}

// --- sessions and addresses ---

OsdSession& OsdSessions::of(OsdId osd) {
  std::unique_ptr<OsdSession>& slot = sessions_[osd];
  if (slot == nullptr) {
    slot = std::make_unique<OsdSession>(osd);
    counters_.osd_sessions.set(sessions_.size());
    update(*slot);
  }
  return *slot;
}

ServerRef OsdSessions::server_of(OsdId osd) const noexcept {
  const auto at = sessions_.find(osd);
  return at == sessions_.end() ? nullptr : at->second->server();
}

void OsdSessions::on_new_map(OsdMapRef map) {
  map_ = std::move(map);
  for (auto& [id, session] : sessions_) update(*session);
}

// Makes the session agree with the map.
void OsdSessions::update(OsdSession& session) {
  const OsdInfo* osd = map_->find_osd(session.id());
  session.set_info(osd != nullptr ? *osd : OsdInfo{});
  // What is down keeps its connection: replies may still come, and it may be up again soon.
  if (!session.is_up()) return;
  if (session.server() != nullptr && has_address(*osd, session.server()->address())) return;
  session.set_address_index(0);
  connect(session, *osd);
}

void OsdSessions::connect(OsdSession& session, const OsdInfo& osd) {
  move_away(session);
  const auto& address = osd.addresses[session.address_index() % osd.addresses.size()];
  session.set_server(servers_.get(address));
  session.set_begun(false);
  LUNAR_LOG(kObjecter, 5, "osd.{} is at {}", session.id(), address.to_string());
  if (session.server()->hello()) begin(session);
  watch_addresses();
}

// Takes every op back from a connection that is about to be given up.
void OsdSessions::move_away(OsdSession& session) {
  if (session.server() == nullptr) return;
  for (Op& op : session.ops()) {
    ending_.take_back_buffers(op);
    if (op.state != OpState::kSent) continue;
    op.state = OpState::kWaitSession;
    op.resend_reason = ResendReason::kNewMap;
  }
}

// An OSD with several addresses that does not answer at one is tried at the next.
bool OsdSessions::should_move(const OsdSession& session) const {
  const OsdInfo* osd = map_->find_osd(session.id());
  return session.is_up() && session.server() != nullptr && !session.server()->has_link() &&
         osd != nullptr && osd->addresses.size() > 1;
}

void OsdSessions::watch_addresses() {
  if (address_timer_ != msgr::TimerId::kNone || is_shut_down_) return;
  const bool is_needed = std::any_of(sessions_.begin(), sessions_.end(), [this](const auto& each) {
    return should_move(*each.second);
  });
  if (!is_needed) return;
  address_timer_ = center_.run_after(kTryNextAddress, [this] {
    address_timer_ = msgr::TimerId::kNone;
    move_on();
    watch_addresses();
  });
}

void OsdSessions::move_on() {
  for (const auto& [id, session] : sessions_) {
    if (!should_move(*session)) continue;
    session->set_address_index(session->address_index() + 1);
    connect(*session, *map_->find_osd(id));
  }
}

// --- sending ---

void OsdSessions::try_send(Op& op) {
  // While another connection, or a server with a key, may use its buffers, this one must not.
  if (!op.session->is_ready() || op.withdrawals != 0 || op.key) return;
  ++op.attempt;
  op.state = OpState::kSent;
  op.was_sent = true;
  op.sent_to = op.session->incarnation();
  if (op.attempt > 1) {
    counters_.op_resend.add();
    LUNAR_TRACE(lunar_objecter, op_resend, op.object_op.io_id, op.tid, op.attempt,
                trace_value(op.resend_reason), op.osd, op.epoch);
  }
  if (op.kind == OpKind::kServerFlush) {
    op.flush_mark = op.session->unflushed().mark();
    op.object_op.steps.front().version.incarnation = op.session->losses().heard(op.object_op.image);
  }
  counters_.op_send.add();
  counters_.op_send_bytes.add(op.data_bytes);
  op.session->server()->connection().send(std::make_unique<OpMessage>(op, delivery_, ending_));
}

void OsdSessions::send_waiting() {
  for (auto& [id, session] : sessions_) send_waiting(*session);
}

void OsdSessions::send_waiting(OsdSession& session) {
  if (!session.has_begun() && session.is_meant()) return begin(session);
  if (!session.is_ready()) return;
  for (Op& op : session.ops()) {
    if (op.state == OpState::kWaitSession) try_send(op);
  }
}

std::shared_ptr<ImageWrites> OsdSessions::writes_of(ImageId image) {
  std::shared_ptr<ImageWrites> writes = find_writes(image);
  if (writes != nullptr) return writes;
  std::erase_if(writes_, [](const auto& each) { return each.second.expired(); });
  writes = std::make_shared<ImageWrites>();
  writes_.emplace(image, writes);
  return writes;
}

std::shared_ptr<ImageWrites> OsdSessions::find_writes(ImageId image) const {
  const auto found = writes_.find(image);
  return found == writes_.end() ? nullptr : found->second.lock();
}

uint64_t OsdSessions::oldest_write(ImageId image) const {
  const std::shared_ptr<ImageWrites> writes = find_writes(image);
  return writes == nullptr ? UINT64_MAX : writes->oldest();
}

void OsdSessions::on_new_loss(ImageId image) {
  if (const auto writes = find_writes(image)) writes->on_loss();
}

void OsdSessions::on_loss_heard(ImageId image, uint64_t oldest_write) {
  const std::shared_ptr<ImageWrites> writes = find_writes(image);
  if (writes != nullptr && !writes->are_losses_told(oldest_write)) return;
  for (auto& [id, session] : sessions_) session->losses().on_heard(image);
}

void OsdSessions::on_loss_unheard(ImageId image) {
  for (auto& [id, session] : sessions_) session->losses().on_unheard(image);
}

// --- a session begins and is lost ---

bool OsdSessions::on_hello(const ServerRef& server) {
  bool is_meant = true;
  for (auto& [id, session] : sessions_) {
    if (session->server() != server) continue;
    begin(*session);
    is_meant &= session->is_meant();
  }
  return is_meant;
}

void OsdSessions::begin(OsdSession& session) {
  const ServerHello& hello = *session.server()->hello();
  if (!session.is_meant()) {
    // It is another OSD, or its store was copied, made anew, or started since.
    LUNAR_LOG(
        kObjecter, 1,
        "{} is osd.{} on store {}, start {:x}, and not the osd.{} that the cluster map means: "
        "waiting for a newer map",
        session.server()->address().to_string(), hello.osd, hello.store.to_string(),
        hello.incarnation, session.id());
    return;
  }
  session.set_begun(true);
  const bool is_remembered = session.remembers(hello);
  const bool is_same_process = session.incarnation() == hello.incarnation;
  if (session.incarnation() != 0 && !is_remembered) {
    LUNAR_LOG(kObjecter, 1, "osd.{} {}", session.id(),
              is_same_process ? "has forgotten this client" : "has restarted");
  }
  session.set_incarnation(hello.incarnation);
  for (Op& op : session.ops()) resume(session, op, is_remembered, is_same_process);
  if (is_same_process) ask_for_words(session, is_remembered);
  send_waiting(session);
}

// The answers of before may be lost with the last session. A server forgets only who has nothing
// under way there.
void OsdSessions::ask_for_words(OsdSession& session, bool is_remembered) {
  if (!is_remembered) return forget_later(session.id());
  for (const Tid tid : unconfirmed_.tids_of(session.id())) session.send_cancel(tid);
}

// Who had to wait gets a session then, which may be a new one: not while sessions are gone through.
void OsdSessions::forget_later(OsdId osd) {
  forgotten_.push_back(osd);
  if (forget_timer_ != msgr::TimerId::kNone || is_shut_down_) return;
  forget_timer_ = center_.run_after({}, [this] {
    forget_timer_ = msgr::TimerId::kNone;
    for (const OsdId each : std::exchange(forgotten_, {})) unconfirmed_.forget(each);
  });
}

void OsdSessions::resume(OsdSession& session, Op& op, bool is_remembered, bool is_same_process) {
  if (op.state == OpState::kEnding) {
    if (!op.awaits_confirmation) return;
    // What CANCELLED says from now on is about a client that the server does not remember.
    if (!is_remembered) op.end_reason = op.result.error;
    if (!is_same_process) {
      ending_.confirm(op);  // the process that was executing it is gone
    } else if (session.is_up()) {
      session.send_cancel(op);
    }
  } else if (op.state == OpState::kMoving) {
    // Of a new process the map says so, and then the op moves.
    if (!is_same_process) return;
    if (is_remembered || op.is_repeatable)
      session.send_cancel(op);
    else
      ending_.end(op, OsdErrc::kUnknownOutcome);
  } else if (op.state == OpState::kWaitSession && op.was_sent && !is_remembered) {
    if (op.is_repeatable || !op.may_be_executed()) {
      op.was_sent = false;
    } else {
      ending_.end(op, OsdErrc::kUnknownOutcome);
    }
  }
}

void OsdSessions::on_reset(const ServerRef& server) {
  for (auto& [id, session] : sessions_) {
    if (session->server() == server) lose(*session);
  }
}

void OsdSessions::lose(OsdSession& session) {
  session.set_begun(false);
  for (Op& op : session.ops()) {
    delivery_.revoke(op);  // at once: its link is closed
    if (op.state != OpState::kSent) continue;
    op.state = OpState::kWaitSession;
    op.resend_reason = ResendReason::kSessionReset;
  }
}

}  // namespace lunar::objecter
