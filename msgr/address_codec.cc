// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/address_codec.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

namespace lunar::msgr {

void put_address(ByteWriter& out, const Address& address) {
  out.put(address.family());
  out.put_bytes(std::as_bytes(std::span(address.raw())));
  out.put(address.port());
}

Address get_address(ByteReader& in, bool may_be_unset) noexcept {
  const auto family = in.get<Address::Family>();
  std::array<uint8_t, 16> raw{};
  const ConstBytes bytes = in.get_bytes(raw.size());
  if (bytes.size() == raw.size()) std::memcpy(raw.data(), bytes.data(), raw.size());
  const auto port = in.get<uint16_t>();
  const bool is_ipv4 = family == Address::Family::kIpv4;
  const bool is_known = is_ipv4 || family == Address::Family::kIpv6 ||
                        (may_be_unset && family == Address::Family::kNone);
  const bool has_tail =
      std::any_of(raw.begin() + 4, raw.end(), [](uint8_t byte) { return byte != 0; });
  if (!is_known || (is_ipv4 && has_tail)) in.mark_bad();
  return in.ok() ? Address::from_raw(family, raw, port) : Address();
}

}  // namespace lunar::msgr
