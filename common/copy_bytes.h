// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>

namespace lunar {

// memcpy() for payload, whose addresses are seldom aligned to each other. The C library copies more
// than 2 KiB at once by REP MOVSB where the processor says that this is fast (FSRM); AMD's are then
// ten times slower if source and destination are not aligned: 2.3 us for 4 KiB. Less is copied by
// vector registers. Long copies are left to the C library: nearly all of them are of aligned
// memory.
//
// Copies `bytes` bytes, which may be 0; then the pointers are not looked at. The two do not
// overlap. Any thread; the memory is the caller's.
inline void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) noexcept {
  constexpr std::size_t kStep = 1024;
  constexpr std::size_t kLong = 32u << 10;
  std::size_t step = bytes > kLong ? bytes : kStep;
  asm("" : "+r"(step));  // the compiler would make a REP MOVSQ of a length that it knows
  for (std::size_t at = 0; at < bytes; at += step)
    std::memcpy(to + at, from + at, std::min(step, bytes - at));
}

}  // namespace lunar
