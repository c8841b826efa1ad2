// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <sys/socket.h>

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/result.h"

namespace lunar::msgr {

// An IPv4 or IPv6 address and port, as a value. Immutable in meaning; copies freely.
class Address {
 public:
  static constexpr std::size_t kWireBytes = 1 + 16 + 2;  // family, address, port: protocol.md §3

  Address() noexcept = default;
  // "10.0.0.1:6800", "[::1]:6800"; without a port, port 0. Host names are not resolved here.
  static Outcome<Address> parse(std::string_view text);
  static Address from_sockaddr(const sockaddr* address) noexcept;
  static Address loopback(uint16_t port = 0) noexcept;

  std::string to_string() const;  // what parse() reads; "-" if unset
  bool is_ipv6() const noexcept { return family_ == Family::kIpv6; }
  bool is_loopback() const noexcept;
  bool is_wildcard() const noexcept;
  bool is_unset() const noexcept { return family_ == Family::kNone; }
  uint16_t port() const noexcept { return port_; }
  void set_port(uint16_t port) noexcept { port_ = port; }
  socklen_t to_sockaddr(sockaddr_storage& out) const noexcept;

  enum class Family : uint8_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };
  Family family() const noexcept { return family_; }
  const std::array<uint8_t, 16>& raw() const noexcept { return bytes_; }
  static Address from_raw(Family family, const std::array<uint8_t, 16>& raw,
                          uint16_t port) noexcept;

  friend auto operator<=>(const Address&, const Address&) = default;

 private:
  Family family_ = Family::kNone;
  std::array<uint8_t, 16> bytes_{};  // IPv4 uses the first four
  uint16_t port_ = 0;
};

}  // namespace lunar::msgr
