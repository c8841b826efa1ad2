/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider lunar_objecter: object ops until they are answered.
 * README.md is the catalogue. lttng-ust's macros read this file several times, hence the guards. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER lunar_objecter

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "tracing/lunar_objecter_tp.h"

#if !defined(TRACING_LUNAR_OBJECTER_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TRACING_LUNAR_OBJECTER_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

#include "tracing/trace_enums.h"

/* clang-format off */

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_objecter, lunar_wait_reason,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("map", kTraceWaitMap)
    lttng_ust_field_enum_value("osd_down", kTraceWaitOsdDown)
    lttng_ust_field_enum_value("throttle", kTraceWaitThrottle)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_objecter, lunar_resend_reason,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("new_map", kTraceResendNewMap)
    lttng_ust_field_enum_value("session_reset", kTraceResendSessionReset)
    lttng_ust_field_enum_value("retry_inline", kTraceResendRetryInline)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_objecter, lunar_cancel_reason,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("timeout", kTraceCancelTimeout)
    lttng_ust_field_enum_value("abort", kTraceCancelAbort)
    lttng_ust_field_enum_value("shutdown", kTraceCancelShutdown)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_objecter, lunar_delivery_path,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("inline", kTracePathInline)
    lttng_ust_field_enum_value("one_sided", kTracePathOneSided)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_objecter, lunar_delivery_reason,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("eligible", kTracePathEligible)
    lttng_ust_field_enum_value("below_threshold", kTracePathBelowThreshold)
    lttng_ust_field_enum_value("not_registered", kTracePathNotRegistered)
    lttng_ust_field_enum_value("foreign_memory", kTracePathForeignMemory)
    lttng_ust_field_enum_value("secure_mode", kTracePathSecureMode)
    lttng_ust_field_enum_value("peer_lacks", kTracePathPeerLacks)
    lttng_ust_field_enum_value("resend", kTracePathResend)
    lttng_ust_field_enum_value("link_lacks", kTracePathLinkLacks)
    lttng_ust_field_enum_value("op_kind", kTracePathOpKind)
    lttng_ust_field_enum_value("no_key", kTracePathNoKey)
    lttng_ust_field_enum_value("retry_inline", kTracePathRetryInline)
    lttng_ust_field_enum_value("damaged", kTracePathDamaged)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_submit,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint64_t, pool, uint32_t, pg,
                    int32_t, osd, uint64_t, epoch, uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_integer(uint64_t, pool, pool)
    lttng_ust_field_integer(uint32_t, pg, pg)
    lttng_ust_field_integer(int32_t, osd, osd)
    lttng_ust_field_integer(uint64_t, epoch, epoch)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_wait,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint8_t, reason),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_enum(lunar_objecter, lunar_wait_reason, uint8_t, reason, reason)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_resend,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint8_t, reason, int32_t, osd,
                    uint32_t, epoch),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_enum(lunar_objecter, lunar_resend_reason, uint8_t, reason, reason)
    lttng_ust_field_integer(int32_t, osd, osd)
    lttng_ust_field_integer(uint32_t, epoch, epoch)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_delivery,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint8_t, path, uint8_t, reason,
                    uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_enum(lunar_objecter, lunar_delivery_path, uint8_t, path, path)
    lttng_ust_field_enum(lunar_objecter, lunar_delivery_reason, uint8_t, reason, reason)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_reply,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, int32_t, osd, int32_t, result,
                    uint64_t, bytes_inline, uint64_t, bytes_one_sided),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_integer(int32_t, osd, osd)
    lttng_ust_field_integer(int32_t, result, result)
    lttng_ust_field_integer(uint64_t, bytes_inline, bytes_inline)
    lttng_ust_field_integer(uint64_t, bytes_one_sided, bytes_one_sided)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_cancel,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint8_t, reason),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_enum(lunar_objecter, lunar_cancel_reason, uint8_t, reason, reason)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, op_done,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, int32_t, result),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(int32_t, result, result)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_objecter, map_received,
  LTTNG_UST_TP_ARGS(uint64_t, epoch),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer(uint64_t, epoch, epoch)
  )
)

/* clang-format on */

#endif

#include <lttng/tracepoint-event.h>
