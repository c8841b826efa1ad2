// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

// LUNAR_TRACE(lunar_objecter, op_submit, io_id, tid, …): records an event of README.md's catalogue.
// Any thread. Off, it costs a load and a branch; built without LTTng, nothing, and the arguments
// are not evaluated. They should be values at hand: what must be computed goes under
// LUNAR_TRACE_ENABLED.

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
