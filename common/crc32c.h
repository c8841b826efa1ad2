// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/bytes.h"

namespace lunar {

// CRC-32C (Castagnoli) as iSCSI and ext4 define it: crc32c(0, "123456789") is 0xe3069283.
// Of no bytes it is `seed`. Chains: crc32c(crc32c(0, a), b) is the crc of a followed by b.
// Thread-safe. ISA-L computes it, with the instruction of the processor where there is one.
uint32_t crc32c(uint32_t seed, ConstBytes bytes) noexcept;

}  // namespace lunar
