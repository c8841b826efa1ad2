// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace lunar::tracing {

// The events of tracing/README.md that the analyser understands.
enum class EventKind : uint8_t {
  kCmdStart,
  kCmdDone,
  kCmdReturned,
  kCmdAbort,
  kIoStart,
  kIoSplit,
  kExtentPath,
  kExtentSubmit,
  kIoDone,
  kOpSubmit,
  kOpWait,
  kOpResend,
  kOpDelivery,
  kOpReply,
  kOpCancel,
  kOpDone,
  kMapReceived,
  kFrameQueued,
  kFrameSent,
  kFrameReceived,
  kLinkUp,
  kLinkDown,
  kSessionOpen,
  kSessionReplay,
  kSessionReset,
  kCreditWait,
  kCreditResume,
  kKeepalive,
  kOpReceived,
  kOpQueued,
  kOpStart,
  kPullStart,
  kPullDone,
  kStoreSubmit,
  kStoreDone,
  kPushStart,
  kPushDone,
  kOpReplied,
  kOpCancelled,
};
inline constexpr std::size_t kEventKinds = static_cast<std::size_t>(EventKind::kOpCancelled) + 1;

// Of "lunar_osd:op_start"; none for what is not ours, or is newer than this program.
std::optional<EventKind> event_kind_of(std::string_view name);
std::string_view name_of(EventKind kind) noexcept;

// One recorded event, its fields by their names in the catalogue; 0 where the event has no such
// field. A plain value; `text` borrows from whoever made the event, for the call it is handed to.
struct TraceEvent {
  EventKind kind = EventKind::kCmdStart;
  uint32_t process = 0;  // index into the Processes
  int64_t time_ns = 0;   // since the Unix epoch, on the reference host's clock once aligned

  uint64_t io_id = 0;
  uint64_t tid = 0;
  uint64_t conn = 0;
  int64_t attempt = 0;
  int64_t opcode = 0, lba = 0, blocks = 0, bytes = 0, status = 0, sense_key = 0, asc_ascq = 0;
  int64_t image_id = 0, type = 0, offset = 0, length = 0, error = 0, result = 0;
  int64_t reason = 0, extents = 0, index = 0, object_no = 0, path = 0;
  int64_t pool = 0, pg = 0, osd = 0, epoch = 0, bytes_inline = 0, bytes_one_sided = 0;
  int64_t seq = 0, front = 0, data = 0, generation = 0, messages = 0;
  int64_t offset_ns = 0, rtt_ns = 0, qp = 0, wait_ns = 0;
  int64_t ahead = 0, store_kind = 0, fragment = 0;
  std::string_view text;  // the one string of the event: lun, peer or client
};

// Where a field of the catalogue is kept in a TraceEvent. The three unsigned ones are separate
// members.
int64_t TraceEvent::*number_field(std::string_view name) noexcept;
uint64_t TraceEvent::*id_field(std::string_view name) noexcept;

// A process that recorded events.
struct TracedProcess {
  std::string host;
  int64_t pid = 0;
  std::string program;      // from the context procname, if it was recorded
  int32_t osd = -1;         // the server it turned out to be
  bool is_gateway = false;  // it sends ops
  bool is_target = false;   // it takes SCSI commands

  std::string name() const;  // "osd.1", "tgtd", "tgtd@host2"
};
using Processes = std::vector<TracedProcess>;

}  // namespace lunar::tracing
