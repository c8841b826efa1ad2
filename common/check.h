// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace lunar {
// Writes one line to stderr and the log's memory ring, then aborts.
[[noreturn]] void check_failed(const char* file, int line, const char* condition,
                               const char* context) noexcept;
}  // namespace lunar

// An invariant of ours. Aborts in every build; never used for what a peer or a user can cause.
#define LUNAR_CHECK(condition, context) \
  ((condition) ? (void)0 : ::lunar::check_failed(__FILE__, __LINE__, #condition, context))
