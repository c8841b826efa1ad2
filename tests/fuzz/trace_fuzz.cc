// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Traces: any events in any order, with any values, as a file that somebody has sent may have them.
// libbabeltrace2 reads the files; what it hands over goes the way of lunar-trace, both passes and
// every form of the report. An input is a row of kEventBytes each.

#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "common/check.h"
#include "common/visible_text.h"
#include "tests/fuzz/fuzz.h"
#include "tracing/analysis/clock_align.h"
#include "tracing/analysis/render.h"
#include "tracing/analysis/report.h"
#include "tracing/analysis/tracker.h"

namespace lunar::fuzz {
namespace {

using tracing::TraceEvent;
using Buffer = std::vector<std::byte>;

// kind, process, field, ids: a byte each; microseconds since the event before, signed, four bytes;
// the value of the field, eight.
constexpr std::size_t kEventBytes = 16;
constexpr std::size_t kMaxEvents = 512;

constexpr std::array kFields = {
    "opcode",  "lba",       "blocks",   "bytes",      "status", "sense_key", "asc_ascq",
    "type",    "offset",    "length",   "error",      "result", "reason",    "extents",
    "index",   "object_no", "path",     "pool",       "pg",     "osd",       "epoch",
    "seq",     "front",     "data",     "qp",         "ahead",  "offset_ns", "fragment",
    "wait_ns", "rtt_ns",    "messages", "generation", "kind",   "attempt"};

std::vector<TraceEvent> events_in(ConstBytes input) {
  std::vector<TraceEvent> events;
  int64_t now = 1'700'000'000'000'000'000;
  for (; input.size() >= kEventBytes && events.size() < kMaxEvents;
       input = input.subspan(kEventBytes)) {
    const auto byte = [&](std::size_t at) { return std::to_integer<unsigned>(input[at]); };
    TraceEvent& event = events.emplace_back();
    int32_t later = 0;
    int64_t value = 0;
    std::memcpy(&later, &input[4], sizeof later);
    std::memcpy(&value, &input[8], sizeof value);
    now += int64_t{later} * 1000;
    event.kind = static_cast<tracing::EventKind>(byte(0) % tracing::kEventKinds);
    event.process = byte(1) % 4;
    event.time_ns = now;
    event.io_id = byte(3) & 3;
    event.tid = byte(3) >> 2 & 3;
    event.conn = byte(3) >> 4 & 3;
    event.text = byte(3) >> 6 == 0 ? "disk1" : "\x1b[2J<script>\xff";
    if (const auto member = tracing::number_field(kFields[byte(2) % kFields.size()]))
      event.*member = value;
  }
  return events;
}

Buffer row(const std::vector<std::pair<tracing::EventKind, uint8_t>>& events) {
  Buffer out;
  for (const auto& [kind, process] : events) {
    std::array<std::byte, kEventBytes> bytes{};
    bytes[0] = static_cast<std::byte>(kind);
    bytes[1] = std::byte{process};
    bytes[2] = std::byte{static_cast<uint8_t>(kFields.size() - 1)};
    bytes[3] = std::byte{0x15};  // the ids are 1
    bytes[4] = std::byte{100};
    bytes[8] = std::byte{1};  // the attempt
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  return out;
}

}  // namespace

std::vector<Buffer> seeds() {
  using enum tracing::EventKind;
  return {row({{kCmdStart, 0},      {kIoStart, 0},     {kIoSplit, 0},       {kExtentPath, 0},
               {kOpSubmit, 0},      {kFrameQueued, 0}, {kFrameSent, 0},     {kExtentSubmit, 0},
               {kFrameReceived, 1}, {kOpReceived, 1},  {kOpQueued, 1},      {kOpStart, 1},
               {kPullStart, 1},     {kPullDone, 1},    {kStoreSubmit, 1},   {kStoreDone, 1},
               {kOpReplied, 1},     {kFrameSent, 1},   {kFrameReceived, 0}, {kOpReply, 0},
               {kOpDone, 0},        {kIoDone, 0},      {kCmdDone, 0},       {kCmdReturned, 0}}),
          row({{kLinkUp, 0},
               {kSessionOpen, 0},
               {kKeepalive, 0},
               {kKeepalive, 1},
               {kLinkDown, 0},
               {kSessionReplay, 0},
               {kSessionReset, 1},
               {kMapReceived, 0},
               {kCreditWait, 1},
               {kCreditResume, 1}}),
          row({{kOpSubmit, 0},
               {kOpWait, 0},
               {kOpResend, 0},
               {kOpDelivery, 0},
               {kOpCancel, 0},
               {kOpCancelled, 1},
               {kOpDone, 0},
               {kCmdAbort, 0}})};
}

void run_one(ConstBytes input) {
  std::vector<TraceEvent> events = events_in(input);
  tracing::Processes processes = {{"gw", 1, "tgtd", -1, true, true}};
  for (int64_t osd = 0; osd < 3; ++osd)
    processes.push_back({"\x1b]0;host", 10 + osd, "lunar-osd", -1, false, false});
  tracing::ClockAlign clocks;
  for (const TraceEvent& event : events) clocks.add(event, processes);
  clocks.solve(processes);
  tracing::TraceReport::Options options;
  options.io_id = 1;
  options.sample = 4;
  tracing::TraceReport report(options);
  tracing::Tracker tracker({}, [&](tracing::IoRecord&& io) { report.add(std::move(io)); });
  for (TraceEvent& event : events) {
    event.time_ns -= clocks.offset_of(event.process, event.time_ns);
    report.add_event(event);
    tracker.add(event);
    LUNAR_CHECK(tracker.live() <= events.size(), "more IOs than events");
  }
  tracker.finish();
  report.finish(std::move(processes), clocks);
  for (const auto& render :
       {tracing::render_text, tracing::render_json, tracing::render_html, tracing::render_chrome})
    LUNAR_CHECK(visible_text(render(report)).find('\x1b') == std::string::npos, "a control");
  if (report.wanted) tracing::render_tree(*report.wanted, report);
}

}  // namespace lunar::fuzz
