/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider lunar_osd: ops inside an object server.
 * README.md is the catalogue. lttng-ust's macros read this file several times, hence the guards. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER lunar_osd

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "tracing/lunar_osd_tp.h"

#if !defined(TRACING_LUNAR_OSD_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TRACING_LUNAR_OSD_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

#include "tracing/trace_enums.h"

/* clang-format off */

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_osd, lunar_store_kind,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("read", kTraceStoreRead)
    lttng_ust_field_enum_value("write", kTraceStoreWrite)
    lttng_ust_field_enum_value("zero", kTraceStoreZero)
    lttng_ust_field_enum_value("delete", kTraceStoreDelete)
    lttng_ust_field_enum_value("truncate", kTraceStoreTruncate)
    lttng_ust_field_enum_value("flush", kTraceStoreFlush)
    lttng_ust_field_enum_value("stat", kTraceStoreStat)
    lttng_ust_field_enum_value("compare", kTraceStoreCompare)
    lttng_ust_field_enum_value("xattr", kTraceStoreXattr)
    lttng_ust_field_enum_value("list", kTraceStoreList)
    lttng_ust_field_enum_value("vector", kTraceStoreVector)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, op_received,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, const char*, client, uint64_t, pool,
                    uint32_t, pg, uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_string(client, client)
    lttng_ust_field_integer(uint64_t, pool, pool)
    lttng_ust_field_integer(uint32_t, pg, pg)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, op_queued,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, ahead),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, ahead, ahead)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, op_start,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, store_submit,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint8_t, kind, uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_enum(lunar_osd, lunar_store_kind, uint8_t, kind, kind)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, store_done,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, int32_t, error),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(int32_t, error, error)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, pull_start,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint32_t, fragment, uint64_t, offset,
                    uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_integer(uint32_t, fragment, fragment)
    lttng_ust_field_integer(uint64_t, offset, offset)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, pull_done,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint32_t, fragment, uint64_t, bytes,
                    int32_t, result),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_integer(uint32_t, fragment, fragment)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
    lttng_ust_field_integer(int32_t, result, result)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, push_start,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint32_t, fragment, uint64_t, offset,
                    uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_integer(uint32_t, fragment, fragment)
    lttng_ust_field_integer(uint64_t, offset, offset)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, push_done,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint32_t, attempt, uint32_t, fragment, uint64_t, bytes,
                    int32_t, result),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint32_t, attempt, attempt)
    lttng_ust_field_integer(uint32_t, fragment, fragment)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
    lttng_ust_field_integer(int32_t, result, result)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, op_replied,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, int32_t, result, uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(int32_t, result, result)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_osd, op_cancelled,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
  )
)

/* clang-format on */

#endif

#include <lttng/tracepoint-event.h>
