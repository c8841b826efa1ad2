// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/pg_list.h"

#include <utility>

namespace lunar::objecter {

std::optional<ObjectOp> make_list_op(PgId pg, ListScope scope, std::string cursor, uint32_t limit) {
  if (pg.pool == 0 || limit == 0 || limit > OsdOpHeader::kMaxListed) return std::nullopt;
  if (!cursor.empty() && !is_valid_object_name(cursor)) return std::nullopt;
  ObjectOp op;
  op.object.pool = pg.pool;
  SubOp& step = op.steps.emplace_back();
  step.code = OpCode::kList;
  if (scope == ListScope::kServer) step.flags = kOfServer;
  step.name = std::move(cursor);
  step.length = limit;
  return op;
}

Result<std::vector<std::string>> object_names_in(const OpReply& reply, uint32_t limit) {
  if (reply.error) return failure(reply.error);
  auto names = decode_names(reply.data);
  if (names && names->size() > limit) return failure(OsdErrc::kInvalid);
  return names;
}

}  // namespace lunar::objecter
