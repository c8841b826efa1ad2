// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "common/unique_function.h"
#include "objecter/ops/op.h"
#include "objecter/ops/op_deadlines.h"
#include "objecter/ops/op_ending.h"
#include "objecter/ops/op_submission.h"
#include "objecter/ops/op_table.h"
#include "objecter/servers/osd_sessions.h"

namespace lunar::objecter {

// FLUSH of a pool: one op (kPoolFlush) that goes nowhere itself, and one op (kServerFlush) for
// every OSD that can hold objects of the pool. They are no object's, and pass the throttle. The
// server flushes have the deadline; the pool flush ends with the last of them, with the first
// error, but with kLostWrites before any other: nothing may hide from an initiator that writes are
// lost, except kFenced, after which nobody may go on, and the loss is told again. The initiator
// that gets kLostWrites has heard of the loss, unless a write that may be part of it was in flight
// (ImageWrites); until then every FLUSH of the image says it again. For nobody's ears kLostWrites
// comes last: it says that the server did flush. In RADOS whatever was acknowledged is durable, and
// FLUSH goes nowhere.
// Loop-bound. Borrows all it is given.
class PoolFlush {
 public:
  using LossHearer = Objecter::LossHearer;

  PoolFlush(OpTable& table, OpDeadlines& deadlines, OpEnding& ending, OpSubmission& submission,
            OsdSessions& sessions) noexcept
      : table_(table),
        deadlines_(deadlines),
        ending_(ending),
        submission_(submission),
        sessions_(sessions) {}

  Tid submit(PoolId pool, ImageId image, uint64_t io_id, LossHearer hearer,
             UniqueFunction<void(std::error_code)> done);
  // For OpEvents: its pool is in the map.
  void on_placed(Op& pool_flush, const PoolInfo& pool);

 private:
  void on_server_flushed(Tid pool_flush, std::error_code error);

  OpTable& table_;
  OpDeadlines& deadlines_;
  OpEnding& ending_;
  OpSubmission& submission_;
  OsdSessions& sessions_;
};

}  // namespace lunar::objecter
