// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

// Recording of events. Thread-safe: lttng-ust keeps a buffer per processor. README.md is the
// catalogue: each event, its fields with their units, and the events that follow it.
//
// LUNAR_TRACE(lunar_objecter, op_submit, io_id, tid, …) records an event, if somebody records it.
// The arguments are copied, strings too. Off, it costs a load and a branch; built without LTTng
// (-DLUNAR_LTTNG=OFF) nothing, and the arguments are not evaluated. They are values at hand, for
// they are evaluated only while the event is recorded.
//
// LUNAR_TRACE_ENABLED(lunar_objecter, op_submit) says whether somebody records the event now. What
// has to be computed for it goes under an `if` of that:
//
//   if (LUNAR_TRACE_ENABLED(lunar_osd, store_submit))
//     LUNAR_TRACE(lunar_osd, store_submit, op.io_id(), op.tid(), kind_of(op), bytes_of(op));
//
// Each event is recorded at one place of the sources (tools/dev/check_tracepoints.py).

#include "tracing/trace_enums.h"

#ifdef LUNAR_HAVE_LTTNG

#include "tracing/lunar_gateway_tp.h"
#include "tracing/lunar_msgr_tp.h"
#include "tracing/lunar_objecter_tp.h"
#include "tracing/lunar_osd_tp.h"
#include "tracing/lunar_scsi_tp.h"

#define LUNAR_TRACE(provider, event, ...) lttng_ust_tracepoint(provider, event, __VA_ARGS__)
#define LUNAR_TRACE_ENABLED(provider, event) (lttng_ust_tracepoint_enabled(provider, event) != 0)

#else

namespace lunar::internal {
template <typename... Args>
void use_in_trace(const Args&...) noexcept {}
}  // namespace lunar::internal

#define LUNAR_TRACE(provider, event, ...) \
  static_cast<void>(sizeof((::lunar::internal::use_in_trace(__VA_ARGS__), 0)))
#define LUNAR_TRACE_ENABLED(provider, event) false

#endif
