// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "common/unique_function.h"
#include "objecter/ops/op_submission.h"
#include "objecter/protocol/watch.h"
#include "objecter/servers/osd_sessions.h"

namespace lunar::objecter {

// The single ops on the watches of objects. They pass ops that the limits in flight hold back.
// Loop-bound. Borrows all it is given.
class WatchCalls {
 public:
  // `reply` is as Objecter::submit() gives it, but kIncompatible if the server knows no watches.
  using CallDone = UniqueFunction<void(OpReply)>;
  WatchCalls(OpSubmission& submission, OpEnding& ending, OsdSessions& sessions) noexcept
      : submission_(submission), ending_(ending), sessions_(sessions) {}

  // `done` runs once, later. A timeout of 0 is that of every op.
  Tid watch(const ObjectId& object, uint64_t cookie, bool is_again,
            std::chrono::nanoseconds timeout, CallDone done);
  Tid unwatch(const ObjectId& object, uint64_t cookie, std::chrono::nanoseconds timeout,
              CallDone done);
  Tid ack(const ObjectId& object, uint64_t cookie, uint64_t notify_id, std::vector<std::byte> reply,
          CallDone done);
  // As in objecter.h.
  void notify(ObjectId object, std::vector<std::byte> payload, std::chrono::milliseconds timeout,
              UniqueFunction<void(Result<NotifyResult>)> done);
  void list_watchers(ObjectId object, UniqueFunction<void(Result<WatcherList>)> done);

 private:
  Tid call(const ObjectId& object, SubOp step, std::vector<std::byte> data,
           std::chrono::nanoseconds timeout, CallDone done);
  bool lacks_watches(OsdId osd) const;

  OpSubmission& submission_;
  OpEnding& ending_;
  OsdSessions& sessions_;
};

}  // namespace lunar::objecter
