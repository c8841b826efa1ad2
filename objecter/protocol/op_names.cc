// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/op_names.h"

namespace lunar::objecter {

const char* name_of(OpCode code) noexcept {
  switch (code) {
    case OpCode::kRead:
      return "read";
    case OpCode::kSparseRead:
      return "sparse-read";
    case OpCode::kStat:
      return "stat";
    case OpCode::kMapExtents:
      return "mapext";
    case OpCode::kGetXattr:
      return "getxattr";
    case OpCode::kList:
      return "list";
    case OpCode::kAssertVersion:
      return "assert-version";
    case OpCode::kCmpExt:
      return "cmpext";
    case OpCode::kWrite:
      return "write";
    case OpCode::kWriteFull:
      return "writefull";
    case OpCode::kWriteSame:
      return "writesame";
    case OpCode::kZero:
      return "zero";
    case OpCode::kTruncate:
      return "truncate";
    case OpCode::kDelete:
      return "delete";
    case OpCode::kSetXattr:
      return "setxattr";
    case OpCode::kOrWrite:
      return "orwrite";
    case OpCode::kFlush:
      return "flush";
    case OpCode::kWatch:
      return "watch";
    case OpCode::kUnwatch:
      return "unwatch";
    case OpCode::kNotify:
      return "notify";
    case OpCode::kNotifyAck:
      return "notify-ack";
    case OpCode::kListWatchers:
      return "list-watchers";
  }
  return "unknown";
}

}  // namespace lunar::objecter
