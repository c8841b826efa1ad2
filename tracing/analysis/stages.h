// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tracing/analysis/io_record.h"

namespace lunar::tracing {

// The stations of an IO, in order. Along its critical op they add up to the whole of it.
enum class IoStage : uint8_t {
  kParse,        // cmd_start -> io_start: CDB checked
  kWindow,       // io_start -> op_submit: split; and of a long IO, its turn among its own ops
  kTarget,       // op_submit -> frame_queued: map, server up, throttle
  kRetries,      // frame_queued of the first attempt -> that of the last
  kSendQueue,    // frame_queued -> frame_sent
  kWireOut,      // frame_sent -> the server's frame_received; a stalled server does not read
  kDispatch,     // frame_received -> op_received
  kObjectQueue,  // op_received -> op_start: ops before it on its object, map, admission
  kPull,         // op_start -> store_submit: one-sided payload, buffers
  kStore,        // store_submit -> store_done
  kPush,         // store_done -> op_replied: one-sided push, durable marks
  kReplyQueue,   // op_replied -> the reply's frame_sent
  kWireBack,     // reply's frame_sent -> the client's frame_received
  kFinish,       // frame_received -> op_done
  kJoin,         // op_done -> io_done: only of the critical op
  kStatus,       // io_done -> cmd_done
  kReturn,       // cmd_done -> cmd_returned
  kUnknown,      // between two known times with events missing
};
inline constexpr std::size_t kStages = static_cast<std::size_t>(IoStage::kUnknown) + 1;

std::string_view name_of(IoStage stage) noexcept;         // "store"
std::string_view description_of(IoStage stage) noexcept;  // "store_submit -> store_done"
// What goes on there, to go on from "... of it": "in the store of osd.1".
std::string place_of(IoStage stage, int64_t osd);

struct Interval {
  IoStage stage = IoStage::kUnknown;
  int64_t begin = 0, end = 0;  // ns since the epoch
  int64_t length() const noexcept { return end - begin; }
};

// The stations of one op that were recorded, from op_submit to op_done, without gaps: where events
// are missing, the interval to the next known one is kUnknown.
std::vector<Interval> intervals_of(const OpRecord& op);
// Of a whole IO along its critical op. Empty if its beginning or end is not known.
std::vector<Interval> intervals_of(const IoRecord& io);

}  // namespace lunar::tracing
