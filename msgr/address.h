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

// An IPv4 or IPv6 address and a port, or nothing (unset): where a messenger listens or connects to.
// A value: copies freely, never allocates, compares by content, with a total order that means
// nothing. Scope ids of IPv6 are not kept, so link-local addresses cannot be connected to.
class Address {
 public:
  static constexpr std::size_t kWireBytes = 1 + 16 + 2;  // family, address, port: protocol.md §3

  // Unset.
  Address() noexcept = default;
  // "10.0.0.1:6800", "[::1]:6800"; without a port ("10.0.0.1", "::1"), port 0. Host names are not
  // resolved here: they are an error, as is anything else that is no address. The error is a
  // sentence with the text.
  static Outcome<Address> parse(std::string_view text);
  // Unset if the family is neither AF_INET nor AF_INET6. `address` is as long as its family says.
  static Address from_sockaddr(const sockaddr* address) noexcept;
  // 127.0.0.1.
  static Address loopback(uint16_t port = 0) noexcept;

  std::string to_string() const;  // what parse() reads; "-" if unset
  // An IPv4 address that is mapped into IPv6 counts as IPv6.
  bool is_ipv6() const noexcept { return family_ == Family::kIpv6; }
  bool is_loopback() const noexcept;  // 127.0.0.0/8, ::1
  bool is_wildcard() const noexcept;  // 0.0.0.0, ::; to listen on
  bool is_unset() const noexcept { return family_ == Family::kNone; }
  uint16_t port() const noexcept { return port_; }  // 0: none was named
  void set_port(uint16_t port) noexcept { port_ = port; }
  // Fills `out` and returns how many of its bytes are used; AF_UNSPEC if unset.
  socklen_t to_sockaddr(sockaddr_storage& out) const noexcept;

  // Numbers as on the wire.
  enum class Family : uint8_t { kNone = 0, kIpv4 = 4, kIpv6 = 6 };
  Family family() const noexcept { return family_; }
  // In network order; IPv4 uses the first four bytes, and the others are zero.
  const std::array<uint8_t, 16>& raw() const noexcept { return bytes_; }
  // `raw` as raw() gives it; for IPv4 what follows the first four bytes is not looked at. Unset for
  // kNone, whatever the rest is.
  static Address from_raw(Family family, const std::array<uint8_t, 16>& raw,
                          uint16_t port) noexcept;

  friend auto operator<=>(const Address&, const Address&) = default;

 private:
  Family family_ = Family::kNone;
  std::array<uint8_t, 16> bytes_{};  // as raw(); all zero if unset
  uint16_t port_ = 0;                // in host order
};

}  // namespace lunar::msgr
