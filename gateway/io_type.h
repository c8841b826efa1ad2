// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar::gateway {

// What an IO on an image does.
enum class IoType : uint8_t {
  kRead,
  kWrite,
  kDiscard,      // the range reads as zeroes afterwards, and its space is freed
  kWriteZeroes,  // as kDiscard
  kWriteSame,    // one block's data, repeated
  kCompareAndWrite,
  kOrWrite,
  kFlush,
};

}  // namespace lunar::gateway
