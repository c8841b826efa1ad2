// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tracing/analysis/io_record.h"

#include <algorithm>
#include <array>
#include <cinttypes>
#include <cstdio>
#include <iterator>

#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

template <std::size_t N>
std::string name_in(const std::array<const char*, N>& names, int64_t value) {
  if (value < 0 || value >= static_cast<int64_t>(N)) return std::to_string(value);
  return names[static_cast<std::size_t>(value)];
}

std::string printed(const char* format, double number) {
  char text[64];
  std::snprintf(text, sizeof text, format, number);
  return text;
}

}  // namespace

int64_t OpRecord::osd() const noexcept {
  for (auto each = attempts.rbegin(); each != attempts.rend(); ++each) {
    if (each->osd >= 0) return each->osd;
  }
  return -1;
}

int64_t IoRecord::began() const noexcept {
  if (cmd_started != kNever) return cmd_started;
  int64_t at = kNever;
  for (const ImageIo& io : ios) {
    if (io.started != kNever && (at == kNever || io.started < at)) at = io.started;
  }
  return at;
}

int64_t IoRecord::ended() const noexcept {
  if (cmd_returned != kNever) return cmd_returned;
  if (cmd_done != kNever) return cmd_done;
  int64_t at = kNever;
  for (const ImageIo& io : ios) at = std::max(at, io.done);
  return at;
}

int64_t IoRecord::duration() const noexcept {
  const int64_t from = began();
  const int64_t to = ended();
  return from == kNever || to == kNever ? 0 : std::max<int64_t>(to - from, 0);
}

const OpRecord* IoRecord::find_op(uint64_t tid) const noexcept {
  const auto found =
      std::find_if(ops.begin(), ops.end(), [&](const OpRecord& each) { return each.tid == tid; });
  return found == ops.end() ? nullptr : &*found;
}

const OpRecord* IoRecord::critical_op() const noexcept {
  const OpRecord* last = nullptr;
  for (const OpRecord& op : ops) {
    if (op.submitted != kNever && (last == nullptr || op.done > last->done)) last = &op;
  }
  return last;
}

uint32_t IoRecord::resends() const noexcept {
  uint32_t count = 0;
  for (const OpRecord& op : ops) {
    if (op.attempts.size() > 1) count += static_cast<uint32_t>(op.attempts.size() - 1);
  }
  return count;
}

uint32_t IoRecord::replays() const noexcept {
  uint32_t count = 0;
  for (const OpRecord& op : ops) {
    for (const Attempt& each : op.attempts) count += each.replays + each.reply_replays;
  }
  return count;
}

std::vector<std::string> missing_in(const IoRecord& io) {
  std::vector<std::string> missing;
  if (io.cmd_started == kNever && io.cmd_done != kNever) missing.push_back("cmd_start");
  if (io.cmd_started != kNever && io.cmd_done == kNever) missing.push_back("cmd_done");
  for (const ImageIo& each : io.ios) {
    if (each.started == kNever) missing.push_back("io_start");
    if (each.done == kNever) missing.push_back("io_done");
    if (each.error == 0 && each.done != kNever && each.extents != each.extents_seen) {
      missing.push_back("extent_path (" + std::to_string(each.extents_seen) + " of " +
                        std::to_string(each.extents) + ")");
    }
  }
  for (const Extent& each : io.extents) {
    if (each.tid == 0) missing.push_back("extent_submit");
  }
  for (const OpRecord& op : io.ops) {
    const std::string which = " of tid " + std::to_string(op.tid);
    // A flush has a parent that is only a sum: it is never submitted itself.
    if (op.submitted == kNever && !op.attempts.empty()) missing.push_back("op_submit" + which);
    if (op.submitted != kNever && op.done == kNever) missing.push_back("op_done" + which);
    const Attempt* last = op.last_attempt();
    if (op.submitted == kNever || last == nullptr || op.cancelled != kNever) continue;
    if (op.result == 0 && last->reply == kNever) missing.push_back("op_reply" + which);
  }
  return missing;
}

std::string io_type_name(int64_t value) {
  return name_in(std::array{"read", "write", "discard", "write_zeroes", "write_same",
                            "compare_and_write", "or_write", "flush"},
                 value);
}
std::string split_reason_name(int64_t value) {
  return name_in(std::array{"none", "object_boundary", "stripe", "fragment"}, value);
}
std::string path_reason_name(int64_t value) {
  return name_in(std::array{"eligible", "below_threshold", "not_registered", "foreign_memory",
                            "secure_mode", "peer_lacks", "resend", "link_lacks", "op_kind",
                            "no_key", "retry_inline", "damaged"},
                 value);
}
std::string wait_reason_name(int64_t value) {
  return name_in(std::array{"map", "osd_down", "throttle"}, value);
}
std::string resend_reason_name(int64_t value) {
  return name_in(std::array{"new_map", "session_reset", "retry_inline"}, value);
}
std::string cancel_reason_name(int64_t value) {
  return name_in(std::array{"timeout", "abort", "shutdown"}, value);
}
std::string store_kind_name(int64_t value) {
  return name_in(std::array{"read", "write", "zero", "delete", "truncate", "flush", "stat",
                            "compare", "xattr", "list", "vector"},
                 value);
}

std::string opcode_name(int64_t value) {
  switch (value) {
    case 0x00:
      return "TEST UNIT READY";
    case 0x08:
    case 0x28:
    case 0xa8:
    case 0x88:
      return "READ";
    case 0x0a:
    case 0x2a:
    case 0xaa:
    case 0x8a:
      return "WRITE";
    case 0x2e:
    case 0xae:
    case 0x8e:
      return "WRITE AND VERIFY";
    case 0x2f:
    case 0xaf:
    case 0x8f:
      return "VERIFY";
    case 0x34:
    case 0x90:
      return "PRE-FETCH";
    case 0x35:
    case 0x91:
      return "SYNCHRONIZE CACHE";
    case 0x41:
    case 0x93:
      return "WRITE SAME";
    case 0x42:
      return "UNMAP";
    case 0x89:
      return "COMPARE AND WRITE";
    case 0x8b:
      return "ORWRITE";
    case 0x9e:
      return "GET LBA STATUS";
    default: {
      char text[24];
      std::snprintf(text, sizeof text, "SCSI %02" PRIX64 "h", static_cast<uint64_t>(value));
      return text;
    }
  }
}

std::string label_of_image(const IoRecord& io) {
  if (!io.lun.empty()) return io.lun;
  return io.ios.empty() ? std::string() : image_text(io.ios.front().image_id);
}

std::string image_text(uint64_t image_id) {
  char text[24];
  std::snprintf(text, sizeof text, "%016" PRIx64, image_id);
  return text;
}

std::string bytes_text(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double number = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (number >= 1024 && unit + 1 < std::size(kUnits)) {
    number /= 1024;
    ++unit;
  }
  const bool is_whole = number == static_cast<double>(static_cast<uint64_t>(number));
  return printed(is_whole ? "%.0f " : "%.1f ", number) + kUnits[unit];
}

std::string time_text(int64_t ns) {
  const auto number = static_cast<double>(ns);
  const double size = number < 0 ? -number : number;
  if (size < 1e4) return printed("%.2f us", number / 1e3);
  if (size < 1e6) return printed("%.0f us", number / 1e3);
  if (size < 1e9) return printed("%.2f ms", number / 1e6);
  return printed("%.3f s", number / 1e9);
}

std::string id_text(uint64_t io_id) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%" PRIx64, io_id);
  return text;
}

}  // namespace lunar::tracing
