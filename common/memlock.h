// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "common/result.h"

namespace lunar {

// How much memory this process may pin. A value.
struct Memlock {
  static constexpr uint64_t kUnlimited = UINT64_MAX;
  uint64_t limit = 0;      // RLIMIT_MEMLOCK, soft, bytes
  uint64_t hard = 0;       // what the process could raise it to by itself
  uint64_t pinned = 0;     // VmPin: by registrations, once per device
  bool is_exempt = false;  // CAP_IPC_LOCK: the limit does not hold
  uint64_t available() const noexcept;
};

// Raises the soft limit to the hard one, then reads. Blocks for a moment (/proc).
Memlock raise_memlock();
// From the text of /proc/self/status; pure. The limits are the caller's to fill in.
Memlock parse_proc_status(std::string_view status);

// What this process has registered, once per device. Whoever registers or deregisters says so here,
// after it has. Any thread.
void note_pinned(std::size_t bytes) noexcept;
void note_unpinned(std::size_t bytes) noexcept;
std::size_t bytes_pinned() noexcept;

// Whether `needed` bytes more can be pinned. The sentence says how much there is, how much is
// needed and for what, and how to raise it.
Outcome<void> check_memlock(const Memlock& memlock, uint64_t needed, std::string_view purpose);
// How to raise the limit, in one sentence.
std::string_view memlock_advice() noexcept;
// "64 MiB", "8192 KiB", "unlimited".
std::string memlock_text(uint64_t bytes);

}  // namespace lunar
