// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "tracing/analysis/event.h"

namespace lunar::tracing {

// What is known of one IO, put together from the events of all processes. Plain values; times in ns
// since the epoch, kNever where the event was not recorded; sizes in bytes.
inline constexpr int64_t kNever = INT64_MIN;

// One fragment that a server moved by RDMA.
struct FragmentRecord {
  bool is_push = false;
  int64_t index = 0, offset = 0, bytes = 0, result = 0;
  int64_t started = kNever, done = kNever;
};

// One sending of an op.
struct Attempt {
  int64_t number = 1;
  int64_t reason = -1;  // LunarTraceResendReason, or -1 for the first
  int64_t osd = -1, epoch = 0;
  uint32_t server = UINT32_MAX;  // the process that received it
  int64_t begun = kNever;        // op_submit or op_resend
  int64_t queued = kNever, sent = kNever;
  int64_t seq = 0;
  uint32_t replays = 0;        // the same message again, on a new link
  uint32_t reply_replays = 0;  // and its reply
  int64_t arrived = kNever;    // the server's frame_received
  int64_t received = kNever;   // op_received
  int64_t ahead = 0;           // ops on the object before it
  int64_t started = kNever;
  int64_t store_submit = kNever, store_done = kNever, store_kind = -1, store_error = 0;
  int64_t replied = kNever, reply_seq = 0, reply_sent = kNever;
  int64_t reply_arrived = kNever;  // the client's frame_received
  int64_t reply = kNever;          // op_reply
  int64_t result = 0;
  int64_t path = -1, path_reason = -1;  // as op_delivery says; -1 if it was not recorded
  int64_t bytes_inline = 0, bytes_one_sided = 0;
  bool is_cancelled = false;  // the server took it back
  std::vector<FragmentRecord> fragments;

  bool is_answered() const noexcept { return replied != kNever || reply != kNever; }
};

struct OpWait {
  int64_t at = kNever;
  int64_t reason = 0;  // LunarTraceWaitReason
};

struct OpRecord {
  uint64_t tid = 0;
  int64_t pool = 0, pg = 0, bytes = 0;
  int64_t submitted = kNever, done = kNever;
  int64_t result = 0;
  int64_t cancelled = kNever, cancel_reason = 0;
  std::vector<OpWait> waits;
  std::vector<Attempt> attempts;  // by number

  const Attempt* last_attempt() const noexcept {
    return attempts.empty() ? nullptr : &attempts.back();
  }
  int64_t osd() const noexcept;  // of the last attempt that knows; -1
};

// One read, write, ... of an image. A SCSI command may have several (UNMAP, WRITE AND VERIFY).
struct ImageIo {
  uint64_t image_id = 0;
  int64_t type = 0, offset = 0, length = 0;
  int64_t started = kNever, split_at = kNever, done = kNever;
  int64_t split_reason = 0, extents = 0;  // as io_split announced
  uint32_t extents_seen = 0;
  int64_t error = 0;
};

struct Extent {
  int64_t object_no = 0, offset = 0, length = 0, path = 0, reason = 0;
  uint64_t tid = 0;  // 0 until extent_submit
};

struct IoRecord {
  uint64_t io_id = 0;
  uint32_t process = UINT32_MAX;  // the gateway; UINT32_MAX if only servers are known
  int64_t first = kNever, last = kNever;
  // The command, if it came by SCSI.
  int64_t cmd_started = kNever, cmd_done = kNever, cmd_returned = kNever, cmd_aborted = kNever;
  std::string lun;
  int64_t opcode = 0, lba = 0, cmd_bytes = 0, status = 0, sense_key = 0, asc_ascq = 0;
  std::vector<ImageIo> ios;
  std::vector<Extent> extents;
  std::vector<OpRecord> ops;
  uint64_t events = 0;
  uint64_t orphans = 0;  // events that fitted nothing of it

  bool is_command() const noexcept { return cmd_started != kNever || cmd_done != kNever; }
  bool is_io() const noexcept { return is_command() || !ios.empty(); }
  // From the first to the last thing the gateway knows of it; 0 if not both are known.
  int64_t began() const noexcept;
  int64_t ended() const noexcept;
  int64_t duration() const noexcept;
  const OpRecord* find_op(uint64_t tid) const noexcept;
  // The op that ended last: what the IO waited for. Null if it has none.
  const OpRecord* critical_op() const noexcept;
  uint32_t resends() const noexcept;  // attempts beyond the first, of all ops
  uint32_t replays() const noexcept;
};

// What is missing of a record, in words: empty if every beginning has its end.
std::vector<std::string> missing_in(const IoRecord& io);

// Names of the values of trace_enums.h, and of SCSI opcodes.
std::string io_type_name(int64_t value);
std::string split_reason_name(int64_t value);
std::string path_reason_name(int64_t value);
std::string wait_reason_name(int64_t value);
std::string resend_reason_name(int64_t value);
std::string cancel_reason_name(int64_t value);
std::string store_kind_name(int64_t value);
std::string opcode_name(int64_t value);
// The image of an IO: its name where a SCSI command tells it, else its id; "" if neither is known.
std::string label_of_image(const IoRecord& io);
// An image's id as 16 hex digits, as `lunar info` prints it.
std::string image_text(uint64_t image_id);

// "4 KiB", "1.5 MiB"; "37 us", "1.234 s"; "0x1f00000001".
std::string bytes_text(uint64_t bytes);
std::string time_text(int64_t ns);
std::string id_text(uint64_t io_id);

}  // namespace lunar::tracing
