/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Provider lunar_scsi: SCSI commands, from the plugin.
 * README.md is the catalogue. lttng-ust's macros read this file several times, hence the guards. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER lunar_scsi

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "tracing/lunar_scsi_tp.h"

#if !defined(TRACING_LUNAR_SCSI_TP_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define TRACING_LUNAR_SCSI_TP_H

#include <lttng/tracepoint.h>
#include <stdint.h>

#include "tracing/trace_enums.h"

/* clang-format off */

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_scsi, cmd_start,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, const char*, lun, uint8_t, opcode, uint64_t, lba, uint64_t, blocks,
                    uint64_t, bytes),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_string(lun, lun)
    lttng_ust_field_integer_hex(uint8_t, opcode, opcode)
    lttng_ust_field_integer(uint64_t, lba, lba)
    lttng_ust_field_integer(uint64_t, blocks, blocks)
    lttng_ust_field_integer(uint64_t, bytes, bytes)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_scsi, cmd_done,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint8_t, status, uint8_t, sense_key, uint16_t, asc_ascq),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer_hex(uint8_t, status, status)
    lttng_ust_field_integer_hex(uint8_t, sense_key, sense_key)
    lttng_ust_field_integer_hex(uint16_t, asc_ascq, asc_ascq)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_scsi, cmd_abort,
  LTTNG_UST_TP_ARGS(uint64_t, io_id, uint8_t, opcode),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
    lttng_ust_field_integer_hex(uint8_t, opcode, opcode)
  )
)

LTTNG_UST_TRACEPOINT_EVENT(
  lunar_scsi, cmd_returned,
  LTTNG_UST_TP_ARGS(uint64_t, io_id),
  LTTNG_UST_TP_FIELDS(
    lttng_ust_field_integer_hex(uint64_t, io_id, io_id)
  )
)

/* clang-format on */

#endif

#include <lttng/tracepoint-event.h>
