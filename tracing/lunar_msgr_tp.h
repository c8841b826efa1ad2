/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider lunar_msgr: frames, links and sessions.
 * README.md is the catalogue. lttng-ust's macros read this file several times, hence the guards. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER lunar_msgr

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "tracing/lunar_msgr_tp.h"

#if !defined(TRACING_LUNAR_MSGR_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TRACING_LUNAR_MSGR_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

#include "tracing/trace_enums.h"

/* clang-format off */

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, frame_queued,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint64_t, conn, uint16_t, type),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(uint16_t, type, type)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, frame_sent,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint64_t, conn, uint64_t, seq, uint16_t, type,
                    uint32_t, front, uint32_t, data),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(uint64_t, seq, seq)
    lttng_ust_field_integer(uint16_t, type, type)
    lttng_ust_field_integer(uint32_t, front, front)
    lttng_ust_field_integer(uint32_t, data, data)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, frame_received,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint64_t, tid, uint64_t, conn, uint64_t, seq, uint16_t, type,
                    uint32_t, front, uint32_t, data),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer(uint64_t, tid, tid)
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(uint64_t, seq, seq)
    lttng_ust_field_integer(uint16_t, type, type)
    lttng_ust_field_integer(uint32_t, front, front)
    lttng_ust_field_integer(uint32_t, data, data)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, link_up,
  LTTNG_UST_TP_ARGS(uint64_t, conn, const char*, peer, uint64_t, generation),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_string(peer, peer)
    lttng_ust_field_integer(uint64_t, generation, generation)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, link_down,
  LTTNG_UST_TP_ARGS(uint64_t, conn, int32_t, error),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(int32_t, error, error)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, session_open,
  LTTNG_UST_TP_ARGS(uint64_t, conn, const char*, peer),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_string(peer, peer)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, session_replay,
  LTTNG_UST_TP_ARGS(uint64_t, conn, uint32_t, messages),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(uint32_t, messages, messages)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, session_reset,
  LTTNG_UST_TP_ARGS(uint64_t, conn, int32_t, error),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(int32_t, error, error)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, credit_wait,
  LTTNG_UST_TP_ARGS(uint32_t, qp, uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer(uint32_t, qp, qp)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, credit_resume,
  LTTNG_UST_TP_ARGS(uint32_t, qp, uint64_t, wait_ns),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer(uint32_t, qp, qp)
    lttng_ust_field_integer(uint64_t, wait_ns, wait_ns)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_msgr, keepalive,
  LTTNG_UST_TP_ARGS(uint64_t, conn, int64_t, offset_ns, uint64_t, rtt_ns),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, conn, conn)
    lttng_ust_field_integer(int64_t, offset_ns, offset_ns)
    lttng_ust_field_integer(uint64_t, rtt_ns, rtt_ns)
  )
)

/* clang-format on */

#endif

#include <lttng/tracepoint-event.h>
