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

// What a line is about. Each has an option debug_<name> = n/m (Ceph's meaning: n to the log, m to
// memory).
enum class Subsystem : uint8_t {
  kLunar,  // the programs themselves, and what has no other place
  kMs,     // messenger: links, sessions
  kAuth,
  kObjecter,
  kGateway,
  kTgt,  // the plugin
  kOsd,
  kStore,
  kMap,  // cluster map and its authority
  kTools,
  kCount,
};

// Levels: -1 an error (always written), 0 what an operator must see, 1 connect, reset, map change,
// 5 detail of those, 10 per op, 20 everything. Never write a key, at any level.

namespace internal {
// The level up to which a line is worth formatting: max(output, gather) of its subsystem.
extern std::atomic<int8_t> log_thresholds[static_cast<std::size_t>(Subsystem::kCount)];
void log_vwrite(Subsystem subsystem, int level, fmt::string_view format,
                fmt::format_args args) noexcept;
// For a failed check: what the memory ring holds, without waiting for a lock.
void log_dump_ring(int fd) noexcept;
template <typename... Args>
void log_write(Subsystem subsystem, int level, fmt::format_string<Args...> format, Args&&... args) {
  log_vwrite(subsystem, level, format, fmt::make_format_args(args...));
}
}  // namespace internal

inline bool log_wanted(Subsystem subsystem, int level) noexcept {
  return level <= internal::log_thresholds[static_cast<std::size_t>(subsystem)].load(
                      std::memory_order_relaxed);
}

// Where lines go. A line that is wanted is formatted by its thread, kept in the memory ring, and
// handed to one writer thread (started by the first line, all signals blocked), which never makes a
// caller wait: if it falls behind, the oldest lines are dropped and counted. Thread-safe.
// Process-wide and never destroyed.
struct LogTarget {
  std::string file;  // empty: no file
  bool to_stderr = true;
};
// Replaces the target; log_config.h does it from a Config.
Outcome<void> log_open(const LogTarget& target);
// Opens the file again by name, for logrotate.
Outcome<void> log_reopen();
// Waits until what was logged is written. Call at the end of main, and before _exit.
void log_flush();
// Only for the lines that follow.
void log_set_levels(Subsystem subsystem, LogLevels levels) noexcept;
LogLevels log_levels(Subsystem subsystem) noexcept;
std::string_view subsystem_name(Subsystem subsystem) noexcept;

// The last lines kept in memory, oldest first.
std::vector<std::string> log_recent();
// Lines the writer had to drop since the start.
uint64_t log_dropped() noexcept;

}  // namespace lunar

// LUNAR_LOG(kMs, 1, "link to {} is up", peer): the arguments are evaluated only if the line is
// wanted.
#define LUNAR_LOG(subsystem, level, ...)                                               \
  do {                                                                                 \
    if (::lunar::log_wanted(::lunar::Subsystem::subsystem, level)) [[unlikely]]        \
      ::lunar::internal::log_write(::lunar::Subsystem::subsystem, level, __VA_ARGS__); \
  } while (false)

#define LUNAR_ERROR(subsystem, ...) LUNAR_LOG(subsystem, -1, __VA_ARGS__)
