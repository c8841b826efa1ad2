// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace lunar {
// What LUNAR_CHECK calls: writes one line (place, condition, context) to the standard error output,
// then the lines that the log keeps in memory, and aborts. Takes no lock, so that it works wherever
// the program is.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* context) noexcept;
}  // namespace lunar

// An invariant of ours: LUNAR_CHECK(fd >= 0, "the socket is open until close()"). Aborts in every
// build, because going on could lose data; never used for what a peer, a user or a full disk can
// cause, because the process may be tgtd. `context` is text that says what was expected.
#define LUNAR_CHECK(condition, context) \
  ((condition) ? (void)0 : ::lunar::check_failed(__FILE__, __LINE__, #condition, context))
