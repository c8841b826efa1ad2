// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "gateway/io/io_work.h"
#include "gateway/splitter.h"
#include "objecter/trace_values.h"
#include "tracing/trace_enums.h"

namespace lunar::gateway {

// As objecter/trace_values.h, for the enumerations of this layer. Pure.
using objecter::trace_value;

static_assert(trace_value(IoType::kRead) == kTraceIoRead);
static_assert(trace_value(IoType::kWrite) == kTraceIoWrite);
static_assert(trace_value(IoType::kDiscard) == kTraceIoDiscard);
static_assert(trace_value(IoType::kWriteZeroes) == kTraceIoWriteZeroes);
static_assert(trace_value(IoType::kWriteSame) == kTraceIoWriteSame);
static_assert(trace_value(IoType::kCompareAndWrite) == kTraceIoCompareAndWrite);
static_assert(trace_value(IoType::kOrWrite) == kTraceIoOrWrite);
static_assert(trace_value(IoType::kFlush) == kTraceIoFlush);

static_assert(trace_value(SplitReason::kNone) == kTraceSplitNone);
static_assert(trace_value(SplitReason::kObjectBoundary) == kTraceSplitObjectBoundary);
static_assert(trace_value(SplitReason::kStripe) == kTraceSplitStripe);
static_assert(trace_value(SplitReason::kFragment) == kTraceSplitFragment);

}  // namespace lunar::gateway
