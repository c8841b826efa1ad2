// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/crc32c.h"

#include <isa-l/crc.h>

#include <algorithm>
#include <climits>

namespace lunar {

uint32_t crc32c(uint32_t seed, ConstBytes bytes) noexcept {
  uint32_t state = ~seed;  // ISA-L leaves out the inversions at both ends
  while (!bytes.empty()) {
    const std::size_t step = std::min<std::size_t>(bytes.size(), INT_MAX);
    auto* data = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(bytes.data()));
    state = crc32_iscsi(data, static_cast<int>(step), state);
    bytes = bytes.subspan(step);
  }
  return ~state;
}

}  // namespace lunar
