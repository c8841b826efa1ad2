// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <compare>  // operator<=>
#include <cstddef>
#include <cstdint>
#include <functional>  // std::hash
#include <optional>
#include <string>
#include <string_view>

#include "common/bytes.h"

namespace lunar {

// A universally unique identifier (RFC 4122): names of clusters, stores and images. 16 bytes in the
// order in which they are printed and sent. A value; nil, all zero, when default-constructed, which
// stands for "none". Ordered by its bytes, which means nothing but serves maps.
struct Uuid {
  static constexpr std::size_t kBytes = 16;  // on the wire and in memory

  std::array<std::byte, kBytes> bytes{};  // all zero: nil

  // A new one of version 4, from the kernel's random numbers. Any thread.
  static Uuid random();
  // From "8-4-4-4-12" hex digits, of either case. Nothing else is accepted: no braces, no spaces.
  static std::optional<Uuid> parse(std::string_view text);
  // From the wire or a file. REQUIRES: source.size() == kBytes
  static Uuid from_bytes(ConstBytes source);

  // 36 characters, lower case, as RFC 4122 section 3 writes them; parse() reads them back. What the
  // configuration, records and messages for people have.
  std::string to_string() const;
  // Whether it stands for "none". Uuid::random() never gives it.
  bool is_nil() const noexcept { return *this == Uuid{}; }
  // Byte by byte, which is also the order of their texts.
  auto operator<=>(const Uuid&) const = default;
};

}  // namespace lunar

// For unordered containers.
template <>
struct std::hash<lunar::Uuid> {
  std::size_t operator()(const lunar::Uuid& uuid) const noexcept {  // never throws
    // The first bytes of a random identifier are as good as any hash of it.
    std::size_t value = 0;
    std::memcpy(&value, uuid.bytes.data(), sizeof value);
    return value;
  }
};
