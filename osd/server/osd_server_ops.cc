// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/placement.h"
#include "osd/ops/payload_push.h"
#include "osd/ops/reply_message.h"
#include "osd/server/osd_server.h"
#include "tracing/tracepoints.h"

// The path of an op: on_op → admit → sessions → execute → executor → op_ended → sessions →
// send_reply.

namespace lunar::osd {

using objecter::MessageType;

void OsdServer::on_op(msgr::Connection& connection, msgr::InMessage message) {
  auto op = std::make_shared<ClientOp>();
  op->arrived = std::chrono::steady_clock::now();
  auto header = objecter::decode_osd_op(message.front, message.data.size());
  if (!header || header->tid != message.meta.tid) {
    LUNAR_LOG(kOsd, 1, "{} sent an op that cannot be read", connection.peer().entity);
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
  if (stopping_) return refuse(connection, *op, OsdErrc::kShutdown);
  if (const OsdErrc error = check_op(op->header, options_.limits); error != OsdErrc::kOk)
    return refuse(connection, *op, error);
  tracker_.arrived(op);
  admit(connection, std::move(op));
}

void OsdServer::admit(msgr::Connection& connection, ClientOpRef op) {
  if (op->header.epoch > maps_->epoch()) return wait_for_map(connection, std::move(op));
  op->map = maps_->map();
  if (const OsdErrc error = check_target(*op); error != OsdErrc::kOk)
    return refuse(connection, *op, error);
  const auto peer = peers_.find(&connection);
  if (peer == peers_.end()) return;
  sessions_->submit(connection, peer->second.session, std::move(op));
}

OsdErrc OsdServer::check_target(const ClientOp& op) const {
  if (!op.map) return OsdErrc::kStaleMap;
  const objecter::PoolInfo* pool = op.map->find_pool(op.header.pg.pool);
  if (pool == nullptr) return OsdErrc::kNoSuchPool;
  const OsdId us = store_.identity().osd;
  if (op.is(OpCode::kFlush)) {
    const bool member = std::any_of(pool->members.begin(), pool->members.end(),
                                    [us](const auto& each) { return each.osd == us; });
    return member ? OsdErrc::kOk : OsdErrc::kStaleMap;
  }
  if (op.header.pg.seed >= pool->pg_num) return OsdErrc::kInvalid;
  if (!op.header.object.empty() && objecter::pg_of_object(*pool, op.header.object) != op.header.pg)
    return OsdErrc::kInvalid;
  return objecter::osd_of_pg(*pool, op.header.pg) == us ? OsdErrc::kOk : OsdErrc::kStaleMap;
}

void OsdServer::wait_for_map(msgr::Connection& connection, ClientOpRef op) {
  // The authority has the newest there is: a newer one comes from before it was restored.
  if (maps_->is_authority()) return refuse(connection, *op, OsdErrc::kIncompatible);
  if (waiting_maps_.size() >= options_.max_waiting_ops)
    return refuse(connection, *op, OsdErrc::kBusy);
  const Epoch epoch = op->header.epoch;
  waiting_maps_.push_back({epoch, &connection, std::move(op)});
  maps_->want_newer();
}

void OsdServer::refuse(msgr::Connection& connection, const ClientOp& op, OsdErrc error) {
  send_reply(connection, op, make_error_result(op, error));
}

void OsdServer::on_cancel(msgr::Connection& connection, ConstBytes front) {
  const auto note = objecter::decode_cancel_note(front);
  const auto peer = peers_.find(&connection);
  if (!note || peer == peers_.end()) return;
  const auto waits =
      std::find_if(waiting_maps_.begin(), waiting_maps_.end(), [&](const auto& each) {
        return each.connection == &connection && each.op->header.tid == note->tid;
      });
  if (waits != waiting_maps_.end()) {
    tracker_.ended(*waits->op, OsdErrc::kCancelled, 0, std::chrono::steady_clock::now());
    waiting_maps_.erase(waits);
  }
  sessions_->cancel(connection, peer->second.session, note->tid);
}

// --- what sessions ask for ---

void OsdServer::execute(ClientOpRef op) {
  if (stopping_) {
    center_.post(
        [this, op] { sessions_->finished(op, make_error_result(*op, OsdErrc::kShutdown)); });
    return;
  }
  if (executing_ >= options_.max_executing_ops || !waiting_.empty()) {
    if (waiting_.size() < options_.max_waiting_ops) {
      waiting_.push_back(std::move(op));
    } else {
      center_.post([this, op] { sessions_->finished(op, make_error_result(*op, OsdErrc::kBusy)); });
    }
    return;
  }
  ++executing_;
  executor_->submit(std::move(op));
}

void OsdServer::start_waiting() {
  while (executing_ < options_.max_executing_ops && !waiting_.empty()) {
    ++executing_;
    ClientOpRef op = std::move(waiting_.front());
    waiting_.pop_front();
    executor_->submit(std::move(op));
  }
}

// An op of our own, of no session: it waits for what still executes on the object.
void OsdServer::purge_object(const ObjectId& id, InlineFunction<void()> done) {
  auto op = std::make_shared<ClientOp>();
  op->object = id;
  op->header.object = id.name;
  op->header.pg.pool = id.pool;
  op->header.steps.resize(1);
  op->header.steps[0].code = OpCode::kDelete;
  if (versions_->is_metadata(id)) op->header.flags = objecter::kOpMetadata;
  purges_[op.get()] = std::move(done);
  ++executing_;
  executor_->submit(std::move(op));
}

bool OsdServer::take_back(const ClientOpRef& op) {
  const auto at = std::find(waiting_.begin(), waiting_.end(), op);
  if (at != waiting_.end()) {
    waiting_.erase(at);
  } else {
    if (!executor_->cancel(op)) return false;
    --executing_;
    start_waiting();
  }
  LUNAR_TRACE(lunar_osd, op_cancelled, op->io_id(), op->header.tid);
  tracker_.ended(*op, OsdErrc::kCancelled, 0, std::chrono::steady_clock::now());
  return true;
}

void OsdServer::op_ended(ClientOpRef op, OpResultRef result) {
  --executing_;
  if (const auto purge = purges_.extract(op.get()); !purge.empty()) {
    start_waiting();
    return purge.mapped()();
  }
  tracker_.ended(*op, result->header.error, result->data_bytes(), std::chrono::steady_clock::now());
  sessions_->finished(std::move(op), std::move(result));
  start_waiting();
}

void OsdServer::send_reply(msgr::Connection& connection, const ClientOp& op, OpResultRef result) {
  OsdReplyHeader header = result->header;
  header.tid = op.header.tid;
  header.attempt = op.header.attempt;
  header.epoch = maps_->epoch();
  header.verifier = verifier();
  // What ended before it executed is not known to have ended otherwise.
  tracker_.ended(op, header.error, 0, std::chrono::steady_clock::now());
  LUNAR_TRACE(lunar_osd, op_replied, op.io_id(), header.tid, static_cast<int32_t>(header.error),
              static_cast<uint64_t>(result->data_bytes()));
  msgr::MessageMeta meta;
  meta.type = static_cast<uint16_t>(MessageType::kOsdOpReply);
  meta.tid = header.tid;
  meta.trace_id = op.io_id();
  const Push push = push_payload(one_sided_, connection, op, result);
  const auto session = op.session;
  const uint64_t connection_id = connection.id();
  connection.send(
      std::make_unique<ReplyMessage>(meta, std::move(header), std::move(result), push, one_sided_,
                                     [this, session, connection_id, tid = op.header.tid] {
                                       sessions_->reply_delivered(session, connection_id, tid);
                                       if (executor_) executor_->buffers_freed();
                                     }));
}

void OsdServer::send_cancelled(msgr::Connection& connection, Tid tid) {
  std::vector<std::byte> front;
  objecter::encode(objecter::CancelNote{tid}, front);
  send_front(connection, MessageType::kCancelled, std::move(front));
}

}  // namespace lunar::osd
