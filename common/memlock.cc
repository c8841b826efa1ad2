// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/memlock.h"

#include <fmt/format.h>
#include <linux/capability.h>
#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <fstream>
#include <sstream>
#include <string>

namespace lunar {
namespace {

// The text after "Name:" in /proc/self/status, without leading blanks.
std::string_view field(std::string_view status, std::string_view name) {
  std::size_t at = 0;
  while (at < status.size()) {
    const std::size_t end = std::min(status.find('\n', at), status.size());
    std::string_view line = status.substr(at, end - at);
    at = end + 1;
    if (!line.starts_with(name) || line.size() <= name.size() || line[name.size()] != ':') continue;
    line.remove_prefix(name.size() + 1);
    const std::size_t first = line.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view() : line.substr(first);
  }
  return {};
}

uint64_t number(std::string_view text, int base) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value, base);
  return value;
}

uint64_t as_bytes(rlim_t limit) noexcept {
  return limit == RLIM_INFINITY ? Memlock::kUnlimited : limit;
}

std::atomic<std::size_t> pinned_bytes{0};

}  // namespace

void note_pinned(std::size_t bytes) noexcept {
  pinned_bytes.fetch_add(bytes, std::memory_order_relaxed);
}
void note_unpinned(std::size_t bytes) noexcept {
  pinned_bytes.fetch_sub(bytes, std::memory_order_relaxed);
}
std::size_t bytes_pinned() noexcept { return pinned_bytes.load(std::memory_order_relaxed); }

uint64_t Memlock::available() const noexcept {
  if (is_exempt || limit == kUnlimited) return kUnlimited;
  return limit > pinned ? limit - pinned : 0;
}

Memlock parse_proc_status(std::string_view status) {
  Memlock memlock;
  memlock.pinned = number(field(status, "VmPin"), 10) << 10;
  memlock.is_exempt = (number(field(status, "CapEff"), 16) >> CAP_IPC_LOCK & 1) != 0;
  return memlock;
}

Memlock raise_memlock() {
  std::ostringstream status;
  status << std::ifstream("/proc/self/status").rdbuf();
  Memlock memlock = parse_proc_status(status.str());
  rlimit limit{};
  if (getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return memlock;
  if (limit.rlim_cur != limit.rlim_max) {
    const rlimit raised{limit.rlim_max, limit.rlim_max};
    if (setrlimit(RLIMIT_MEMLOCK, &raised) == 0) limit = raised;
  }
  memlock.limit = as_bytes(limit.rlim_cur);
  memlock.hard = as_bytes(limit.rlim_max);
  return memlock;
}

std::string memlock_text(uint64_t bytes) {
  if (bytes == Memlock::kUnlimited) return "unlimited";
  if (bytes % (1u << 20) == 0 && bytes != 0) return fmt::format("{} MiB", bytes >> 20);
  return fmt::format("{} KiB", bytes >> 10);
}

std::string_view memlock_advice() noexcept {
  return "raise it with LimitMEMLOCK=infinity in the service's systemd unit, with `memlock "
         "unlimited` in /etc/security/limits.conf for a login, or with `ulimit -l unlimited` as "
         "root before starting it";
}

Outcome<void> check_memlock(const Memlock& memlock, uint64_t needed, std::string_view purpose) {
  if (needed <= memlock.available()) return {};
  return failure(
      std::errc::not_enough_memory,
      fmt::format(
          "RLIMIT_MEMLOCK lets this process pin {}, of which {} are in use, and {} needs {} "
          "more; {}",
          memlock_text(memlock.limit), memlock_text(memlock.pinned), purpose, memlock_text(needed),
          memlock_advice()));
}

}  // namespace lunar
