// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "osd/ops/client_op.h"
#include "tracing/trace_enums.h"

namespace lunar::osd {

// What the events store_submit and store_done record of an op: the kind of its step, by the frozen
// numbers of tracing/trace_enums.h. Pure.
constexpr uint8_t trace_store_kind(OpCode code) noexcept {
  switch (code) {
    case OpCode::kRead:
    case OpCode::kSparseRead:
    case OpCode::kMapExtents:
      return kTraceStoreRead;
    case OpCode::kStat:
    case OpCode::kWatch:
    case OpCode::kUnwatch:
    case OpCode::kNotify:
    case OpCode::kNotifyAck:
    case OpCode::kListWatchers:
    case OpCode::kAssertVersion:
      return kTraceStoreStat;
    case OpCode::kCmpExt:
      return kTraceStoreCompare;
    case OpCode::kGetXattr:
    case OpCode::kSetXattr:
      return kTraceStoreXattr;
    case OpCode::kZero:
      return kTraceStoreZero;
    case OpCode::kTruncate:
      return kTraceStoreTruncate;
    case OpCode::kDelete:
      return kTraceStoreDelete;
    case OpCode::kFlush:
      return kTraceStoreFlush;
    case OpCode::kList:
      return kTraceStoreList;
    case OpCode::kWrite:
    case OpCode::kWriteFull:
    case OpCode::kWriteSame:
    case OpCode::kOrWrite:
      return kTraceStoreWrite;
  }
  return kTraceStoreWrite;
}

// … of the whole op: several steps are a kind of their own.
inline uint8_t trace_store_kind(const OsdOpHeader& op) noexcept {
  return op.steps.size() > 1 ? uint8_t{kTraceStoreVector} : trace_store_kind(op.steps.front().code);
}

// … and the lengths of its steps, in bytes.
inline uint64_t trace_store_bytes(const OsdOpHeader& op) noexcept {
  uint64_t bytes = 0;
  for (const SubOp& step : op.steps) bytes += step.length;
  return bytes;
}

// Recorded traces are read by these numbers.
static_assert(trace_store_kind(OpCode::kRead) == 0 && trace_store_kind(OpCode::kWrite) == 1);
static_assert(trace_store_kind(OpCode::kZero) == 2 && trace_store_kind(OpCode::kDelete) == 3);
static_assert(trace_store_kind(OpCode::kTruncate) == 4 && trace_store_kind(OpCode::kFlush) == 5);
static_assert(trace_store_kind(OpCode::kStat) == 6 && trace_store_kind(OpCode::kCmpExt) == 7);
static_assert(trace_store_kind(OpCode::kGetXattr) == 8 && trace_store_kind(OpCode::kList) == 9);
static_assert(kTraceStoreVector == 10);

}  // namespace lunar::osd
