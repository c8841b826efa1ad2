// SPDX-License-Identifier: LGPL-2.1-or-later
// Emits the events that NUMBER-OF-IOS IOs of 4 KiB record on a gateway and its servers, as fast as
// it can, to make traces of any size for the analyser. usage: trace_load NUMBER-OF-IOS

#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "tracing/tracepoints.h"

namespace {

constexpr uint64_t kFirstIo = uint64_t{0x1234} << 32;
constexpr uint64_t kInFlight = 16;
constexpr uint16_t kRequest = 1;
constexpr uint16_t kReply = 2;
constexpr uint64_t kBytes = 4096;

void begin(uint64_t n) {
  const uint64_t io = kFirstIo + n;
  const uint64_t offset = n * kBytes;
  LUNAR_TRACE(lunar_scsi, cmd_start, io, "rbd/disk1", 0x8a, offset / 512, 8, kBytes);
  LUNAR_TRACE(lunar_gateway, io_start, io, 7, kTraceIoWrite, offset, kBytes);
  LUNAR_TRACE(lunar_gateway, io_split, io, kTraceSplitNone, 1, offset, kBytes);
  LUNAR_TRACE(lunar_gateway, extent_path, io, 0, offset >> 22, offset & 0x3fffff, kBytes,
              kTracePathInline, kTracePathBelowThreshold);
  LUNAR_TRACE(lunar_objecter, op_submit, io, n, 1, 3, n % 128, static_cast<int32_t>(n % 3), 9,
              kBytes);
  LUNAR_TRACE(lunar_msgr, frame_queued, io, n, 1, kRequest);
  LUNAR_TRACE(lunar_msgr, frame_sent, io, n, 1, n, kRequest, 120, kBytes);
  LUNAR_TRACE(lunar_gateway, extent_submit, io, n, offset >> 22, offset & 0x3fffff, kBytes);
}

void serve(uint64_t n) {
  const uint64_t io = kFirstIo + n;
  LUNAR_TRACE(lunar_msgr, frame_received, io, n, 2, n, kRequest, 120, kBytes);
  LUNAR_TRACE(lunar_osd, op_received, io, n, 1, "client.gateway", 3, n % 128, kBytes);
  LUNAR_TRACE(lunar_osd, op_queued, io, n, 0);
  LUNAR_TRACE(lunar_osd, op_start, io, n);
  LUNAR_TRACE(lunar_osd, store_submit, io, n, kTraceStoreWrite, kBytes);
  LUNAR_TRACE(lunar_osd, store_done, io, n, 0);
  LUNAR_TRACE(lunar_osd, op_replied, io, n, 0, 0);
  LUNAR_TRACE(lunar_msgr, frame_queued, io, n, 2, kReply);
  LUNAR_TRACE(lunar_msgr, frame_sent, io, n, 2, n, kReply, 64, 0);
}

void end(uint64_t n) {
  const uint64_t io = kFirstIo + n;
  LUNAR_TRACE(lunar_msgr, frame_received, io, n, 1, n, kReply, 64, 0);
  LUNAR_TRACE(lunar_objecter, op_reply, io, n, 1, static_cast<int32_t>(n % 3), 0, kBytes, 0);
  LUNAR_TRACE(lunar_objecter, op_done, io, n, 0);
  LUNAR_TRACE(lunar_gateway, io_done, io, 0, kBytes);
  LUNAR_TRACE(lunar_scsi, cmd_done, io, 0, 0, 0);
  LUNAR_TRACE(lunar_scsi, cmd_returned, io);
}

}  // namespace

int main(int argc, char** argv) {
  const uint64_t ios = argc == 2 ? std::strtoull(argv[1], nullptr, 10) : 0;
  if (ios == 0) {
    std::fprintf(stderr, "usage: trace_load NUMBER-OF-IOS\n");
    return 2;
  }
  for (uint64_t first = 1; first <= ios; first += kInFlight) {
    const uint64_t last = first + kInFlight <= ios ? first + kInFlight : ios + 1;
    for (uint64_t n = first; n < last; ++n) begin(n);
    for (uint64_t n = first; n < last; ++n) serve(n);
    for (uint64_t n = first; n < last; ++n) end(n);
  }
  return 0;
}
