// SPDX-License-Identifier: LGPL-2.1-or-later
// FLUSH and LIST: ops that are no object's, and pass the throttle.
#include "objecter/objecter_impl.h"

namespace lunar::objecter {
namespace {

SubOp make_step(OpCode code) {
  SubOp step;
  step.code = code;
  return step;
}

}  // namespace

Tid ObjecterImpl::flush(PoolId pool, ImageId image, uint64_t io_id,
                        InlineFunction<void(std::error_code)> done) {
  center_.assert_in_loop();
  ObjectOp request;
  request.object.pool = pool;
  request.image = image;
  request.io_id = io_id;
  Op& op = add_op(OpKind::kFlushParent, std::move(request), {});
  op.flush_done = std::move(done);
  const Tid tid = op.tid;
  if (pool == 0) {
    end(op, OsdErrc::kInvalid);
  } else {
    begin(op);
  }
  return tid;
}

// One part for every OSD that can hold objects of the pool. The parts have the deadline; the parent
// ends with the last of them.
void ObjecterImpl::start_flush(Op& parent, const PoolInfo& pool) {
  std::vector<Op*> parts;
  for (const PoolInfo::Member& member : pool.members) {
    if (member.weight == 0) continue;
    ObjectOp request;
    request.object.pool = pool.id;
    request.image = parent.request.image;
    request.io_id = parent.request.io_id;
    request.steps = {make_step(OpCode::kFlush)};
    Op& part = add_op(OpKind::kOsd, std::move(request),
                      [this, tid = parent.tid](OpReply reply) { part_done(tid, reply.error); });
    part.parent = parent.tid;
    part.osd = member.osd;
    table_.set_deadline(part, parent.deadline);
    parts.push_back(&part);
  }
  OpTable::clear_deadline(parent);
  parent.state = OpState::kWaitSession;
  parent.parts = static_cast<uint32_t>(parts.size());
  for (Op* part : parts) target(*part);
  arm_deadline_timer();
}

void ObjecterImpl::part_done(Tid parent_tid, std::error_code error) {
  Op& parent = *table_.find(parent_tid);
  // That writes are lost is said once: nothing may hide it.
  if (error && (!parent.result.error || error == OsdErrc::kLostWrites)) parent.result.error = error;
  if (--parent.parts == 0) end(parent, parent.result.error);
}

Tid ObjecterImpl::list(PgId pg, std::string cursor, uint32_t limit,
                       InlineFunction<void(Result<std::vector<std::string>>)> done) {
  center_.assert_in_loop();
  using Done = InlineFunction<void(Result<std::vector<std::string>>)>;
  SubOp step = make_step(OpCode::kList);
  step.name = std::move(cursor);
  step.length = limit;
  const bool is_good = pg.pool != 0 && limit > 0 && limit <= OsdOpHeader::kMaxListed &&
                       (step.name.empty() || is_valid_object_name(step.name));
  ObjectOp request;
  request.object.pool = pg.pool;
  request.steps.push_back(std::move(step));
  Op& op = add_op(OpKind::kPg, std::move(request),
                  [limit, done = std::make_unique<Done>(std::move(done))](OpReply reply) {
                    if (reply.error) return (*done)(failure(reply.error));
                    auto names = decode_names(reply.data);
                    if (names && names->size() > limit) return (*done)(failure(OsdErrc::kInvalid));
                    (*done)(std::move(names));
                  });
  op.pg = pg;
  const Tid tid = op.tid;
  if (is_good) {
    begin(op);
  } else {
    end(op, OsdErrc::kInvalid);
  }
  return tid;
}

}  // namespace lunar::objecter
