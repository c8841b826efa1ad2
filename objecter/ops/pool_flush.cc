// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/pool_flush.h"

#include <utility>
#include <vector>

namespace lunar::objecter {
namespace {

// Which of two servers' answers the flush ends with: the higher one.
int rank_of(std::error_code error, Objecter::LossHearer hearer) noexcept {
  if (error == OsdErrc::kFenced) return 4;
  if (error == OsdErrc::kLostWrites) return hearer == Objecter::LossHearer::kInitiator ? 3 : 1;
  return error ? 2 : 0;
}

}  // namespace

Tid PoolFlush::submit(PoolId pool, ImageId image, uint64_t io_id, LossHearer hearer,
                      UniqueFunction<void(std::error_code)> done) {
  ObjectOp object_op;
  object_op.object.pool = pool;
  object_op.image = image;
  object_op.io_id = io_id;
  Op& op = submission_.add(
      OpKind::kPoolFlush, std::move(object_op),
      [this, image, hearer, oldest = sessions_.oldest_write(image),
       done = std::move(done)](OpReply reply) mutable {
        if (reply.error == OsdErrc::kLostWrites && hearer == LossHearer::kInitiator) {
          sessions_.on_loss_heard(image, oldest);
        }
        if (done) done(reply.error);
      });
  op.loss_hearer = hearer;
  const Tid tid = op.tid;
  if (pool == 0) {
    ending_.end(op, OsdErrc::kInvalid);
  } else {
    submission_.begin(op);
  }
  return tid;
}

void PoolFlush::on_placed(Op& pool_flush, const PoolInfo& pool) {
  if (pool.store == StoreKind::kRados) return ending_.end(pool_flush, std::error_code());
  std::vector<Op*> server_flushes;
  for (const PoolInfo::Member& member : pool.members) {
    if (member.weight == 0) continue;
    ObjectOp object_op;
    object_op.object.pool = pool.id;
    object_op.image = pool_flush.object_op.image;
    object_op.io_id = pool_flush.object_op.io_id;
    object_op.steps.emplace_back().code = OpCode::kFlush;
    Op& op = submission_.add(
        OpKind::kServerFlush, std::move(object_op),
        [this, tid = pool_flush.tid](OpReply reply) { on_server_flushed(tid, reply.error); });
    op.pool_flush = pool_flush.tid;
    op.osd = member.osd;
    deadlines_.set(op, pool_flush.deadline);
    server_flushes.push_back(&op);
  }
  OpDeadlines::clear(pool_flush);
  pool_flush.state = OpState::kWaitSession;
  pool_flush.server_flushes_left = static_cast<uint32_t>(server_flushes.size());
  for (Op* op : server_flushes) submission_.target(*op);
}

void PoolFlush::on_server_flushed(Tid tid, std::error_code error) {
  Op& op = *table_.find(tid);
  const LossHearer hearer = op.loss_hearer;
  if (rank_of(error, hearer) > rank_of(op.result.error, hearer)) op.result.error = error;
  if (--op.server_flushes_left == 0) ending_.end(op, op.result.error);
}

}  // namespace lunar::objecter
