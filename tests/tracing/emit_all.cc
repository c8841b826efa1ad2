// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/tracing/emit_all.h"

#include <cstdint>

#include "tracing/tracepoints.h"

namespace {

constexpr uint64_t kIo = 0x100000001;
constexpr uint64_t kTid = 42;
constexpr uint64_t kConn = 0xc0;
constexpr uint64_t kImage = 0x1a;
constexpr uint32_t kAttempt = 1;

void emit_scsi() {
  LUNAR_TRACE(lunar_scsi, cmd_start, kIo, "rbd/disk", 0x8a, 2048, 16384, 8388608);
  LUNAR_TRACE(lunar_scsi, cmd_abort, kIo, 0x8a);
  LUNAR_TRACE(lunar_scsi, cmd_done, kIo, 2, 0xb, 0x4b00);
  LUNAR_TRACE(lunar_scsi, cmd_returned, kIo);
}

void emit_gateway() {
  LUNAR_TRACE(lunar_gateway, io_start, kIo, kImage, kTraceIoWrite, 1048576, 8388608);
  LUNAR_TRACE(lunar_gateway, io_split, kIo, kTraceSplitObjectBoundary, 3, 1048576, 8388608);
  LUNAR_TRACE(lunar_gateway, extent_path, kIo, 2, 7, 0, 1048576, kTracePathInline,
              kTracePathLinkLacks);
  LUNAR_TRACE(lunar_gateway, extent_submit, kIo, kTid, 7, 0, 1048576);
  LUNAR_TRACE(lunar_gateway, io_done, kIo, -5, 0);
}

void emit_objecter() {
  LUNAR_TRACE(lunar_objecter, op_submit, kIo, kTid, kAttempt, 3, 17, -1, 9, 4096);
  LUNAR_TRACE(lunar_objecter, op_wait, kIo, kTid, kAttempt, kTraceWaitOsdDown);
  LUNAR_TRACE(lunar_objecter, op_resend, kIo, kTid, kAttempt, kTraceResendSessionReset, 2, 9);
  LUNAR_TRACE(lunar_objecter, op_delivery, kIo, kTid, kAttempt, kTracePathInline,
              kTracePathRetryInline, 4096);
  LUNAR_TRACE(lunar_objecter, op_reply, kIo, kTid, kAttempt, 2, -110, 512, 65536);
  LUNAR_TRACE(lunar_objecter, op_cancel, kIo, kTid, kTraceCancelAbort);
  LUNAR_TRACE(lunar_objecter, op_done, kIo, kTid, -125);
  LUNAR_TRACE(lunar_objecter, map_received, 10);
}

void emit_msgr() {
  LUNAR_TRACE(lunar_msgr, frame_queued, kIo, kTid, kConn, 5);
  LUNAR_TRACE(lunar_msgr, frame_sent, kIo, kTid, kConn, 77, 5, 120, 4096);
  LUNAR_TRACE(lunar_msgr, frame_received, kIo, kTid, kConn, 78, 6, 64, 0);
  LUNAR_TRACE(lunar_msgr, link_up, kConn, "[::1]:6800", 4);
  LUNAR_TRACE(lunar_msgr, link_down, kConn, -104);
  LUNAR_TRACE(lunar_msgr, session_open, kConn, "osd.2");
  LUNAR_TRACE(lunar_msgr, session_replay, kConn, 12);
  LUNAR_TRACE(lunar_msgr, session_reset, kConn, -103);
  LUNAR_TRACE(lunar_msgr, credit_wait, 17, 65536);
  LUNAR_TRACE(lunar_msgr, credit_resume, 17, 40000);
  LUNAR_TRACE(lunar_msgr, keepalive, kConn, -1500, 250000);
}

void emit_osd() {
  LUNAR_TRACE(lunar_osd, op_received, kIo, kTid, kAttempt, "client.gw", 3, 17, 4096);
  LUNAR_TRACE(lunar_osd, op_queued, kIo, kTid, 2);
  LUNAR_TRACE(lunar_osd, op_start, kIo, kTid);
  LUNAR_TRACE(lunar_osd, store_submit, kIo, kTid, kTraceStoreVector, 4096);
  LUNAR_TRACE(lunar_osd, store_done, kIo, kTid, -28);
  LUNAR_TRACE(lunar_osd, pull_start, kIo, kTid, kAttempt, 1, 524288, 131072);
  LUNAR_TRACE(lunar_osd, pull_done, kIo, kTid, kAttempt, 1, 131072, 0);
  LUNAR_TRACE(lunar_osd, push_start, kIo, kTid, kAttempt, 0, 0, 524288);
  LUNAR_TRACE(lunar_osd, push_done, kIo, kTid, kAttempt, 0, 524288, -5);
  LUNAR_TRACE(lunar_osd, op_replied, kIo, kTid, -28, 0);
  LUNAR_TRACE(lunar_osd, op_cancelled, kIo, kTid);
}

}  // namespace

void lunar_emit_all_events(void) {
  emit_scsi();
  emit_gateway();
  emit_objecter();
  emit_msgr();
  emit_osd();
}

int lunar_is_recorded(void) { return LUNAR_TRACE_ENABLED(lunar_osd, op_replied) ? 1 : 0; }
