// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <system_error>

#include "osd/store/store_tree.h"

namespace lunar::osd {

inline constexpr uint64_t kMaxObjectBytes = 1ULL << 40;

// Why a store refuses a call on these bytes of an object: kInvalid, kTooLarge, or no error.
inline std::error_code check_range(const ObjectId& id, uint64_t offset, uint64_t length) noexcept {
  if (!is_valid_object_id(id)) return objecter::OsdErrc::kInvalid;
  if (offset > kMaxObjectBytes || length > kMaxObjectBytes - offset) {
    return objecter::OsdErrc::kTooLarge;
  }
  return {};
}

// The same for a call on a whole object.
inline std::error_code check_id(const ObjectId& id) noexcept { return check_range(id, 0, 0); }

}  // namespace lunar::osd
