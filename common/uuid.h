// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/bytes.h"

namespace lunar {

// 16 bytes in the order they are printed and sent (RFC 4122). A value; nil when
// default-constructed.
struct Uuid {
  static constexpr std::size_t kBytes = 16;

  std::array<std::byte, kBytes> bytes{};

  // Version 4, from the kernel's random numbers.
  static Uuid random();
  // "8-4-4-4-12" hex digits, any case; nothing else is accepted.
  static std::optional<Uuid> parse(std::string_view text);
  // REQUIRES: source.size() == kBytes
  static Uuid from_bytes(ConstBytes source);

  std::string to_string() const;  // lower case
  bool is_nil() const noexcept { return *this == Uuid{}; }
  auto operator<=>(const Uuid&) const = default;
};

}  // namespace lunar

template <>
struct std::hash<lunar::Uuid> {
  std::size_t operator()(const lunar::Uuid& uuid) const noexcept {
    std::size_t value = 0;
    std::memcpy(&value, uuid.bytes.data(), sizeof value);  // random already
    return value;
  }
};
