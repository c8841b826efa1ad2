// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cerrno>

#include "common/result.h"

namespace lunar {

std::error_code last_system_error() noexcept { return system_error(errno); }

}  // namespace lunar
