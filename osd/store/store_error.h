// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/types.h>

#include <system_error>

#include "common/result.h"

namespace lunar::osd {

// What an error of the file system means to a client. Errors that are not expected become kIoError,
// and the original goes to the log. An OsdErrc, and no error, stay what they are. Any thread.
std::error_code to_store_error(std::error_code system);

// The error in what a system call returned: a negative errno, or none.
inline std::error_code error_in(ssize_t result) noexcept {
  return result < 0 ? system_error(static_cast<int>(-result)) : std::error_code{};
}

}  // namespace lunar::osd
