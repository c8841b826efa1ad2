// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/check.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>

#include "common/log.h"

namespace lunar {

void check_failed(const char* file, int line, const char* condition, const char* context) noexcept {
  char text[512];
  int length = std::snprintf(text, sizeof text, "lunar: check failed: %s (%s) at %s:%d\n",
                             condition, context, file, line);
  if (length >= static_cast<int>(sizeof text)) length = sizeof text - 1;
  // What led here first, so that the reason is the last line.
  internal::log_dump_ring(STDERR_FILENO);
  if (length > 0) {
    [[maybe_unused]] const ssize_t written =
        ::write(STDERR_FILENO, text, static_cast<std::size_t>(length));
  }
  std::abort();
}

}  // namespace lunar
