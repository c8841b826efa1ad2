// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar {

inline constexpr uint64_t kKiB = 1u << 10;
inline constexpr uint64_t kMiB = 1u << 20;

}  // namespace lunar
