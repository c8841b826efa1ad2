// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <fmt/core.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/options.h"
#include "common/result.h"

namespace lunar {

// What a line is about. Each has an option debug_<name> = n/m with Ceph's meaning: lines up to
// level n go to the log, lines up to level m are kept in memory, for `log dump` and for a crash.
enum class Subsystem : uint8_t {
  kLunar,     // the programs themselves, and what has no other place
  kMs,        // messenger: links, sessions
  kAuth,      // who may connect
  kObjecter,  // ops, their resending, the client's map
  kGateway,   // images
  kTgt,       // the plugin
  kOsd,       // the object server
  kStore,     // its files
  kMap,       // cluster map and its authority
  kTools,     // the command-line tools
  kCount,     // how many there are
};

// Levels: -1 an error (always written), 0 what an operator must see, 1 connect, reset, map change,
// 5 detail of those, 10 per op, 20 everything. Never write a key, at any level.

namespace internal {
// The level up to which a line is worth formatting: max(output, gather) of its subsystem.
extern std::atomic<int8_t> log_thresholds[static_cast<std::size_t>(Subsystem::kCount)];
// Formats the line, keeps it, and hands it to the writer. Takes a short lock.
void log_vwrite(Subsystem subsystem, int level, fmt::string_view format,
                fmt::format_args args) noexcept;
// For a failed check: what the memory ring holds, without waiting for a lock.
void log_dump_ring(int fd) noexcept;
// The same with the format checked by the compiler.
template <typename... Args>
void log_write(Subsystem subsystem, int level, fmt::format_string<Args...> format, Args&&... args) {
  log_vwrite(subsystem, level, format, fmt::make_format_args(args...));
}
}  // namespace internal

// A load and a comparison: what LUNAR_LOG costs while a line is not wanted.
inline bool is_log_wanted(Subsystem subsystem, int level) noexcept {
  return level <= internal::log_thresholds[static_cast<std::size_t>(subsystem)].load(
                      std::memory_order_relaxed);
}

// Where lines go. A line that is wanted is formatted by its thread, kept in the memory ring, and
// handed to one writer thread (started by the first line, all signals blocked), which never makes a
// caller wait: if it falls behind, the oldest lines are dropped and counted. Thread-safe.
// Process-wide and never destroyed.
struct LogTarget {
  std::string file;       // appended to; empty: no file
  bool to_stderr = true;  // both may be off: lines are then kept in memory alone
};
// Replaces the target; log_config.h does it from a Config. The error is that of a file that cannot
// be opened; the old target then stays.
Outcome<void> log_open(const LogTarget& target);
// Opens the file again by name, for logrotate(8); device_or_resource_busy if that takes over 2 s.
Outcome<void> log_reopen();
// Waits until what was logged is written. Call at the end of main, and before _exit.
void log_flush();
// For the lines that follow. Any thread.
void log_set_levels(Subsystem subsystem, LogLevels levels) noexcept;
LogLevels log_levels(Subsystem subsystem) noexcept;
// As in the option: "ms".
std::string_view subsystem_name(Subsystem subsystem) noexcept;

// The lines kept in memory, at most some thousand, the oldest first.
std::vector<std::string> log_recent();
// Lines the writer had to drop since the start.
uint64_t log_dropped() noexcept;

}  // namespace lunar

// LUNAR_LOG(kMs, 1, "link to {} is up", peer): a line in the grammar of std::format. Any thread;
// never waits for a disk. The arguments are evaluated only if the line is wanted.
#define LUNAR_LOG(subsystem, level, ...)                                               \
  do {                                                                                 \
    if (::lunar::is_log_wanted(::lunar::Subsystem::subsystem, level)) [[unlikely]]     \
      ::lunar::internal::log_write(::lunar::Subsystem::subsystem, level, __VA_ARGS__); \
  } while (false)

// For what somebody has to mend: written at whatever level is set.
#define LUNAR_ERROR(subsystem, ...) LUNAR_LOG(subsystem, -1, __VA_ARGS__)
