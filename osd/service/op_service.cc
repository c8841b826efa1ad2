// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/op_service.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/host.h"
#include "common/log_limited.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/placement.h"
#include "osd/ops/payload_push.h"
#include "tracing/tracepoints.h"

// The path of an op: on_op → admit → sessions → execute → executor → on_executed → sessions →
// send_reply.

namespace lunar::osd {

using objecter::MessageType;

OpService::OpService(const OpDependencies& borrowed)
    : center_(borrowed.center),
      identity_(borrowed.identity),
      store_(borrowed.store),
      pools_(borrowed.pools),
      options_(borrowed.options),
      versions_(borrowed.versions),
      access_(borrowed.access),
      maps_(borrowed.maps),
      tracker_(borrowed.perf, borrowed.options.tracking),
      one_sided_(borrowed.perf),
      sessions_(static_cast<ClientSessionsHost&>(*this), borrowed.fences,
                borrowed.options.sessions),
      watches_(center_, borrowed.options.watches, borrowed.perf,
               static_cast<uint32_t>(borrowed.versions.incarnation())),
      watch_ops_(watches_, [this](ClientOpRef op, OpResultRef result) {
        end(std::move(op), std::move(result));
      }) {}

void OpService::start(UnflushedLedger& ledger) {
  ledger_ = &ledger;
  if (maps_.map() != nullptr) watches_.on_map(maps_.map(), identity_.osd);
  executor_.emplace(OpEnvironment{center_, store_, versions_, ledger, options_.limits, one_sided_},
                    options_.executor, [this](ClientOpRef op, OpResultRef result) {
                      on_executed(std::move(op), std::move(result));
                    });
}

void OpService::tick(TimePoint now) {
  if (is_silent_) return;
  waiting_replies_.release_until(now - options_.limits.reply_patience);
  const TimePoint overdue = now - options_.limits.max_hold;
  for (MapWaiters::Waiter& waiter : map_waiters_.take_arrived_until(overdue))
    refuse(*waiter.connection, *waiter.op, OsdErrc::kStaleMap);
  sessions_.answer_held(overdue);
  sessions_.begin_held();
  sessions_.expire(now);
  watches_.tick();
  tracker_.complain(now);
  if (executor_) executor_->buffers_freed();
}

// --- connections ---

void OpService::on_open(msgr::Connection& connection) {
  const bool remembers = sessions_.remembers(connection.peer());
  watches_.on_open(connection);
  connections_[connection.id()] = sessions_.open(connection);
  send_hello(connection, remembers);
}

void OpService::send_hello(msgr::Connection& connection, bool remembers) {
  objecter::ServerHello hello;
  hello.fsid = identity_.fsid;
  hello.osd = identity_.osd;
  hello.store = identity_.store;
  hello.incarnation = versions_.incarnation();
  hello.verifier = ledger_->verifier();
  hello.epoch = maps_.epoch();
  hello.remembers_client = remembers;
  std::vector<std::byte> front;
  objecter::encode(hello, front);
  send_front(connection, MessageType::kServerHello, std::move(front));
}

void OpService::on_reset(msgr::Connection& connection) {
  map_waiters_.erase(connection);
  watches_.on_reset(connection);
  const auto known = connections_.find(connection.id());
  if (known == connections_.end()) return;
  sessions_.close(connection, known->second, monotonic_now());
  connections_.erase(known);
}

void OpService::revoke(const std::string& entity, UniqueFunction<void()> done) {
  const auto revoked = sessions_.revoke(entity, std::move(done));
  // What waits for a map finds no session then.
  std::erase_if(connections_, [&](const auto& each) { return revoked.contains(each.second); });
}

void OpService::on_map(Epoch epoch) {
  if (is_silent_) return;
  end_watches_not_allowed();
  watches_.on_map(maps_.map(), identity_.osd);
  for (MapWaiters::Waiter& waiter : map_waiters_.take_until(epoch))
    admit(*waiter.connection, std::move(waiter.op));
}

// Ends the watches that the new map does not allow. Ops that were admitted are still executed.
void OpService::end_watches_not_allowed() {
  watches_.drop_if([this](const std::string& entity, const ObjectId& object) {
    return !access_.permissions_of(entity, maps_.map()).allows_watching(object);
  });
}

// --- an op arrives ---

void OpService::on_op(msgr::Connection& connection, msgr::InMessage message) {
  if (is_silent_) return;
  auto op = std::make_shared<ClientOp>();
  op->arrived = monotonic_now();
  auto header = objecter::decode_osd_op(message.front, message.data.size());
  if (!header || header->tid != message.meta.tid) {
    LUNAR_LOG_LIMITED(kOsd, 1, "{} sent an op that cannot be read", connection.peer().entity);
    op->header.tid = message.meta.tid;
    if (message.meta.tid != 0) refuse(connection, *op, OsdErrc::kInvalid);
    return;
  }
  op->header = std::move(*header);
  op->message = std::move(message);
  op->client_memory = connection.weak_from_this();
  op->message.front = {};
  op->object = {op->header.pg.pool, op->header.object};
  LUNAR_TRACE(lunar_osd, op_received, op->io_id(), op->header.tid, op->header.attempt,
              connection.peer().entity.c_str(), op->header.pg.pool, op->header.pg.seed,
              static_cast<uint64_t>(op->payload_bytes()));
  if (try_answer_resend(connection, op)) return;
  if (is_stopping_) return refuse(connection, *op, error_of_end(*op));
  if (const OsdErrc error = check_op(op->header, options_.limits); error != OsdErrc::kOk)
    return refuse(connection, *op, error);
  tracker_.on_arrived(op);
  admit(connection, std::move(op));
}

// Before anything can refuse the op: a refusal says that it was not executed.
bool OpService::try_answer_resend(msgr::Connection& connection, const ClientOpRef& op) {
  const auto known = connections_.find(connection.id());
  if (known == connections_.end() ||
      !sessions_.knows(known->second, op->header.tid, op->header.attempt))
    return false;
  sessions_.submit(connection, known->second, op);
  return true;
}

void OpService::admit(msgr::Connection& connection, ClientOpRef op) {
  // Not yet, or no more: the client tries again until its time is over.
  if (!maps_.may_serve()) return refuse(connection, *op, OsdErrc::kStaleMap);
  if (op->header.epoch > maps_.epoch()) return wait_for_map(connection, std::move(op));
  op->map = maps_.map();
  if (!access_.permissions_of(connection.peer(), op->map).allows(op->header))
    return refuse(connection, *op, OsdErrc::kNotPermitted);
  if (const OsdErrc error = check_target(*op); error != OsdErrc::kOk)
    return refuse(connection, *op, error_for_peer(connection.peer(), *op, error));
  const objecter::OsdInfo* us = op->map->find_osd(identity_.osd);
  // What a pool in RADOS has was on no disk of ours.
  op->is_absent_lost = us != nullptr && op->header.pg.pool < us->lost_below && !is_of_rados(*op);
  const auto known = connections_.find(connection.id());
  if (known == connections_.end()) return;
  sessions_.submit(connection, known->second, std::move(op));
}

OsdErrc OpService::check_target(const ClientOp& op) {
  if (!op.map) return OsdErrc::kStaleMap;
  const objecter::PoolInfo* pool = op.map->find_pool(op.header.pg.pool);
  if (pool == nullptr) return OsdErrc::kNoSuchPool;
  if (!pools_.keeps(*pool)) {
    LUNAR_LOG_LIMITED(kOsd, 0,
                      "pool {} is for servers with another osd_objectstore than this one: its ops "
                      "are refused",
                      pool->name);
    return OsdErrc::kInvalid;
  }
  const OsdId us = identity_.osd;
  if (op.is(OpCode::kFlush)) {
    const bool is_member = std::any_of(pool->members.begin(), pool->members.end(),
                                       [us](const auto& each) { return each.osd == us; });
    return is_member ? OsdErrc::kOk : OsdErrc::kStaleMap;
  }
  if (op.header.pg.seed >= pool->pg_num) return OsdErrc::kInvalid;
  if (!op.header.object.empty() && objecter::pg_of_object(*pool, op.header.object) != op.header.pg)
    return OsdErrc::kInvalid;
  // A LIST of this server depends on which PGs are here: both sides must have the same map.
  const bool is_of_server =
      op.is(OpCode::kList) && (op.header.steps.front().flags & objecter::kOfServer) != 0;
  if (is_of_server && pool->store == objecter::StoreKind::kRados &&
      op.header.epoch != op.map->epoch)
    return OsdErrc::kStaleMap;
  if (targeting_.map() != op.map) targeting_.set_map(op.map);
  return targeting_.of_pg(*pool, op.header.pg).osd == us ? OsdErrc::kOk : OsdErrc::kStaleMap;
}

// A client of an earlier release would send it here for ever: it places PGs of RADOS as if all
// servers were up.
OsdErrc OpService::error_for_peer(const msgr::PeerIdentity& peer, const ClientOp& op,
                                  OsdErrc error) const {
  const bool has_our_map = op.map != nullptr && op.header.epoch == op.map->epoch;
  if (error != OsdErrc::kStaleMap || peer.follows_moves || !has_our_map || !is_of_rados(op))
    return error;
  LUNAR_LOG_LIMITED(kOsd, 0,
                    "{} at {} is of a release that does not know that PGs of a pool in RADOS move "
                    "when a server is down: its ops are refused; install this release there",
                    peer.entity, peer.instance);
  return OsdErrc::kIncompatible;
}

bool OpService::is_of_rados(const ClientOp& op) const {
  const objecter::OsdMapRef& map = op.map != nullptr ? op.map : maps_.map();
  return map != nullptr && map->is_in_rados(op.header.pg.pool);
}

// When this server ends: of a pool in RADOS others are about to have its PGs.
OsdErrc OpService::error_of_end(const ClientOp& op) const {
  return is_of_rados(op) ? OsdErrc::kStaleMap : OsdErrc::kShutdown;
}

void OpService::wait_for_map(msgr::Connection& connection, ClientOpRef op) {
  // The authority has the newest map: a newer epoch was seen before its store was restored.
  if (maps_.is_authority()) return refuse(connection, *op, OsdErrc::kIncompatible);
  if (!map_waiters_.has_room(connection, options_.executor.max_waiting,
                             options_.executor.max_waiting_of_one))
    return refuse(connection, *op, OsdErrc::kBusy);
  map_waiters_.add(connection, std::move(op));
  maps_.want_newer();
}

void OpService::refuse(msgr::Connection& connection, const ClientOp& op, OsdErrc error) {
  send_reply(connection, op, make_error_result(op, error));
}

void OpService::on_cancel(msgr::Connection& connection, ConstBytes front) {
  const auto note = objecter::decode_cancel_note(front);
  const auto known = connections_.find(connection.id());
  if (!note || known == connections_.end()) return;
  if (const ClientOpRef op = map_waiters_.take(connection, note->tid))
    tracker_.on_ended(*op, OsdErrc::kCancelled, 0, monotonic_now());
  sessions_.cancel(connection, known->second, *note);
}

// --- what sessions ask for ---

void OpService::execute(ClientOpRef op) {
  if (is_stopping_) {
    const OsdErrc error = error_of_end(*op);
    return finish_later(std::move(op), error);
  }
  if (!executor_->has_room(*op)) return finish_later(std::move(op), OsdErrc::kBusy);
  executor_->submit(std::move(op));
}

void OpService::finish_later(ClientOpRef op, OsdErrc error) {
  center_.post([this, op = std::move(op), error] {
    sessions_.on_executed(op, make_error_result(*op, error));
  });
}

std::vector<ClientOpRef> OpService::take_back(const std::vector<ClientOpRef>& ops) {
  std::vector<ClientOpRef> taken = executor_->take_back(ops);
  for (const ClientOpRef& op : ops)
    if (op->is(OpCode::kNotify) && watch_ops_.take_back(*op)) taken.push_back(op);
  for (const ClientOpRef& op : taken) {
    LUNAR_TRACE(lunar_osd, op_cancelled, op->io_id(), op->header.tid);
    tracker_.on_ended(*op, OsdErrc::kCancelled, 0, monotonic_now());
  }
  return taken;
}

void OpService::on_executed(ClientOpRef op, OpResultRef result) {
  if (result->header.error == OsdErrc::kOk) {
    if (op->is_of_watches()) return watch_ops_.run(std::move(op), *result);
    if (op->is_deletion()) watches_.on_deleted(op->object);
  }
  end(std::move(op), std::move(result));
}

void OpService::end(ClientOpRef op, OpResultRef result) {
  tracker_.on_ended(*op, result->header.error, result->data_bytes(), monotonic_now());
  sessions_.on_executed(std::move(op), std::move(result));
}

void OpService::send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) {
  if (is_silent_) return;
  OsdReplyHeader header = result->header;
  header.tid = op.header.tid;
  header.attempt = op.header.attempt;
  header.epoch = maps_.epoch();
  header.verifier = ledger_->verifier();
  // Does nothing for an op that executed: on_executed() has counted it. Any other ends here.
  tracker_.on_ended(op, header.error, 0, monotonic_now());
  LUNAR_TRACE(lunar_osd, op_replied, op.io_id(), header.tid, static_cast<int32_t>(header.error),
              static_cast<uint64_t>(result->data_bytes()));
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(MessageType::kOsdOpReply);
  meta.tid = header.tid;
  meta.trace_id = op.io_id();
  const Push push = push_payload(one_sided_, connection, op, result);
  const auto session = op.session;
  const uint64_t connection_id = connection.id();
  const bool can_be_read_again = op.is_repeatable() && result->data_bytes() != 0;
  auto reply = std::make_unique<ReplyMessage>(
      meta, std::move(header), std::move(result), op.reply_share, push, can_be_read_again,
      monotonic_now(), ReplyMessage::ReplyCounters{one_sided_, tracker_.reads_again()},
      [this, session, connection_id, tid = op.header.tid] {
        sessions_.on_delivered(session, connection_id, tid);
        executor_->buffers_freed();
      });
  if (can_be_read_again) waiting_replies_.add(*reply);
  connection.send(std::move(reply));
}

void OpService::send_cancelled(msgr::Connection& connection, const objecter::CancelNote& note) {
  if (is_silent_) return;
  std::vector<std::byte> front;
  objecter::encode(note, front);
  send_front(connection, MessageType::kCancelled, std::move(front));
}

msgr::FairShares::Held OpService::hold_reply(const msgr::Connection& connection,
                                             uint64_t bytes) const {
  const auto known = connections_.find(connection.id());
  return known == connections_.end() ? msgr::FairShares::Held()
                                     : sessions_.hold_reply(known->second, bytes);
}

void OpService::on_fenced(const ClientName& client, uint64_t up_to_nonce) {
  watches_.on_fenced(client.entity, client.instance, up_to_nonce);
}

// --- the server's own ---

void OpService::remove_object(const ObjectId& id, UniqueFunction<void()> done) {
  executor_->remove_object(id, versions_.is_metadata(id), std::move(done));
}

void OpService::stop() {
  is_stopping_ = true;
  watches_.stop();
  if (!executor_) return;
  for (const ClientOpRef& op : executor_->stop())
    sessions_.on_executed(op, make_error_result(*op, error_of_end(*op)));
}

void OpService::drain(UniqueFunction<void()> done) {
  if (!executor_) return done();
  executor_->drain(std::move(done));
}

}  // namespace lunar::osd
