// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace lunar::msgr {
namespace {

Outcome<Address> bad_address(std::string_view text, const char* why) {
  std::string message = "'";
  message.append(text.substr(0, 100));
  message += "' is not an address: ";
  message += why;
  return failure(std::errc::invalid_argument, std::move(message));
}

// "v1:" and "v2:" are not ours, and neither are names: only digits and dots, or brackets.
bool parse_port(std::string_view text, uint16_t& port) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, port);
  return error == std::errc() && stop == end && !text.empty();
}

}  // namespace

Outcome<Address> Address::parse(std::string_view text) {
  constexpr const char* kForms = "write 10.0.0.1:6800 or [::1]:6800 (host names are not resolved)";
  std::string_view host = text;
  std::string_view port_text;
  bool has_port = false;
  const bool bracketed = text.starts_with('[');
  if (bracketed) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad_address(text, "the ']' is missing");
    host = text.substr(1, end - 1);
    const std::string_view rest = text.substr(end + 1);
    if (!rest.empty() && rest.front() != ':') return bad_address(text, kForms);
    has_port = !rest.empty();
    if (has_port) port_text = rest.substr(1);
  } else if (std::count(text.begin(), text.end(), ':') == 1) {
    has_port = true;
    host = text.substr(0, text.find(':'));
    port_text = text.substr(text.find(':') + 1);
  }
  Address address;
  if (has_port && !parse_port(port_text, address.port_)) {
    return bad_address(text, "the port is not a number from 0 to 65535");
  }
  char terminated[INET6_ADDRSTRLEN] = {};
  if (host.size() >= sizeof terminated) return bad_address(text, kForms);
  std::copy(host.begin(), host.end(), terminated);
  if (!bracketed && inet_pton(AF_INET, terminated, address.bytes_.data()) == 1) {
    address.family_ = Family::kIpv4;
  } else if (inet_pton(AF_INET6, terminated, address.bytes_.data()) == 1) {
    address.family_ = Family::kIpv6;
  } else {
    return bad_address(text, kForms);
  }
  return address;
}

Address Address::from_sockaddr(const sockaddr* address) noexcept {
  Address out;
  if (address->sa_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, address, sizeof in);
    out.family_ = Family::kIpv4;
    std::memcpy(out.bytes_.data(), &in.sin_addr, 4);
    out.port_ = ntohs(in.sin_port);
  } else if (address->sa_family == AF_INET6) {
    sockaddr_in6 in;
    std::memcpy(&in, address, sizeof in);
    out.family_ = Family::kIpv6;
    std::memcpy(out.bytes_.data(), &in.sin6_addr, 16);
    out.port_ = ntohs(in.sin6_port);
  }
  return out;
}

Address Address::loopback(uint16_t port) noexcept {
  return from_raw(Family::kIpv4, {127, 0, 0, 1}, port);
}

Address Address::from_raw(Family family, const std::array<uint8_t, 16>& raw,
                          uint16_t port) noexcept {
  Address out;
  if (family == Family::kIpv4) {
    std::copy_n(raw.begin(), 4, out.bytes_.begin());  // the rest stays zero: equal means equal
  } else if (family == Family::kIpv6) {
    out.bytes_ = raw;
  } else {
    return out;
  }
  out.family_ = family;
  out.port_ = port;
  return out;
}

std::string Address::to_string() const {
  if (is_unset()) return "-";
  char text[INET6_ADDRSTRLEN];
  inet_ntop(is_ipv6() ? AF_INET6 : AF_INET, bytes_.data(), text, sizeof text);
  std::string out = is_ipv6() ? "[" + std::string(text) + "]" : std::string(text);
  return out + ":" + std::to_string(port_);
}

bool Address::is_loopback() const noexcept {
  if (family_ == Family::kIpv4) return bytes_[0] == 127;
  if (family_ != Family::kIpv6) return false;
  in6_addr in;
  std::memcpy(&in, bytes_.data(), sizeof in);
  return IN6_IS_ADDR_LOOPBACK(&in) || (IN6_IS_ADDR_V4MAPPED(&in) && bytes_[12] == 127);
}

bool Address::is_wildcard() const noexcept {
  if (family_ == Family::kNone) return false;
  return std::all_of(bytes_.begin(), bytes_.end(), [](uint8_t byte) { return byte == 0; });
}

socklen_t Address::to_sockaddr(sockaddr_storage& out) const noexcept {
  std::memset(&out, 0, sizeof out);
  if (family_ == Family::kIpv4) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port_);
    std::memcpy(&in.sin_addr, bytes_.data(), 4);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  if (family_ == Family::kIpv6) {
    sockaddr_in6 in{};
    in.sin6_family = AF_INET6;
    in.sin6_port = htons(port_);
    std::memcpy(&in.sin6_addr, bytes_.data(), 16);
    std::memcpy(&out, &in, sizeof in);
    return sizeof in;
  }
  out.ss_family = AF_UNSPEC;
  return sizeof(sa_family_t);
}

}  // namespace lunar::msgr
