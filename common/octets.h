// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/bytes.h"

namespace lunar {

// The same memory as libraries of cryptography take it, whose functions want uint8_t and no
// std::byte: nettle's and GnuTLS's. Nothing is copied, and nothing is checked; the length stays
// with the bytes. Pure. Text comes by way of as_const_bytes(). What is returned is valid as long as
// the bytes are, and null for none.
inline const uint8_t* octets(ConstBytes bytes) noexcept {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}
// For what they write.
inline uint8_t* octets(Bytes bytes) noexcept { return reinterpret_cast<uint8_t*>(bytes.data()); }

}  // namespace lunar
