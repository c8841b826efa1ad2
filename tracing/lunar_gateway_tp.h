/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider lunar_gateway: IOs on images and how they are cut.
 * README.md is the catalogue. lttng-ust's macros read this file several times, hence the guards. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER lunar_gateway

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "tracing/lunar_gateway_tp.h"

#if !defined(TRACING_LUNAR_GATEWAY_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TRACING_LUNAR_GATEWAY_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

#include "tracing/trace_enums.h"

/* clang-format off */

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_gateway, lunar_io_type,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("read", kTraceIoRead)
    lttng_ust_field_enum_value("write", kTraceIoWrite)
    lttng_ust_field_enum_value("discard", kTraceIoDiscard)
    lttng_ust_field_enum_value("write_zeroes", kTraceIoWriteZeroes)
    lttng_ust_field_enum_value("write_same", kTraceIoWriteSame)
    lttng_ust_field_enum_value("compare_and_write", kTraceIoCompareAndWrite)
    lttng_ust_field_enum_value("or_write", kTraceIoOrWrite)
    lttng_ust_field_enum_value("flush", kTraceIoFlush)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_gateway, lunar_split_reason,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("none", kTraceSplitNone)
    lttng_ust_field_enum_value("object_boundary", kTraceSplitObjectBoundary)
    lttng_ust_field_enum_value("stripe", kTraceSplitStripe)
    lttng_ust_field_enum_value("fragment", kTraceSplitFragment)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_gateway, lunar_path,
  LTTNG_UST_TP_ENUM_VALUES(
    lttng_ust_field_enum_value("inline", kTracePathInline)
    lttng_ust_field_enum_value("one_sided", kTracePathOneSided)
  )
)

LTTNG_UST_TRACEPOINT_ENUM(
  lunar_gateway, lunar_path_reason,
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
  lunar_gateway, io_start,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, image_id, uint8_t, type, uint64_t, offset, uint64_t, length),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer_hex(uint64_t, image_id, image_id)
    lttng_ust_field_enum(lunar_gateway, lunar_io_type, uint8_t, type, type)
    lttng_ust_field_integer(uint64_t, offset, offset)
    lttng_ust_field_integer(uint64_t, length, length)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_gateway, io_split,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint8_t, reason, uint32_t, extents, uint64_t, offset, uint64_t, length),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_enum(lunar_gateway, lunar_split_reason, uint8_t, reason, reason)
    lttng_ust_field_integer(uint32_t, extents, extents)
    lttng_ust_field_integer(uint64_t, offset, offset)
    lttng_ust_field_integer(uint64_t, length, length)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_gateway, extent_path,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint32_t, index, uint64_t, object_no, uint64_t, offset, uint64_t, length,
                    uint8_t, path, uint8_t, reason),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint32_t, index, index)
    lttng_ust_field_integer(uint64_t, object_no, object_no)
    lttng_ust_field_integer(uint64_t, offset, offset)
    lttng_ust_field_integer(uint64_t, length, length)
    lttng_ust_field_enum(lunar_gateway, lunar_path, uint8_t, path, path)
    lttng_ust_field_enum(lunar_gateway, lunar_path_reason, uint8_t, reason, reason)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_gateway, extent_submit,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint64_t, object_no, uint64_t, offset, uint64_t, length),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer(uint64_t, object_no, object_no)
    lttng_ust_field_integer(uint64_t, offset, offset)
    lttng_ust_field_integer(uint64_t, length, length)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_gateway, io_done,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, int32_t, error, uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(int32_t, error, error)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

/* clang-format on */

#endif

#include <lttng/tracepoint-event.h>
