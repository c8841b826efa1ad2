// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/codec/fields.h"

#include <algorithm>

#include "objecter/protocol/osd_map.h"

namespace lunar::objecter {
namespace {

msgr::Address get_address(ByteReader& r) noexcept {
  using Family = msgr::Address::Family;
  const auto family = r.get<uint8_t>();
  std::array<uint8_t, 16> raw{};
  const ConstBytes bytes = r.get_bytes(raw.size());
  if (bytes.size() == raw.size()) std::memcpy(raw.data(), bytes.data(), raw.size());
  const auto port = r.get<uint16_t>();
  const bool is_ipv4 = family == static_cast<uint8_t>(Family::kIpv4);
  const bool tail_is_zero =
      std::all_of(raw.begin() + 4, raw.end(), [](uint8_t byte) { return byte == 0; });
  if (!is_ipv4 && family != static_cast<uint8_t>(Family::kIpv6)) r.mark_bad();
  if (is_ipv4 && !tail_is_zero) r.mark_bad();
  if (!r.ok()) return {};
  return msgr::Address::from_raw(static_cast<Family>(family), raw, port);
}

}  // namespace

Uuid get_uuid(ByteReader& r) noexcept {
  const ConstBytes bytes = r.get_bytes(Uuid::kBytes);
  return bytes.size() == Uuid::kBytes ? Uuid::from_bytes(bytes) : Uuid{};
}

bool get_flag(ByteReader& r) noexcept {
  const auto value = r.get<uint8_t>();
  if (value > 1) r.mark_bad();
  return value == 1;
}

OsdErrc get_errc(ByteReader& r) noexcept {
  const auto value = r.get<int32_t>();
  if (!is_known_errc(value)) r.mark_bad();
  return r.ok() ? static_cast<OsdErrc>(value) : OsdErrc::kInvalid;
}

void put_addresses(ByteWriter& w, const std::vector<msgr::Address>& addresses) {
  const auto count = std::min(addresses.size(), OsdInfo::kMaxAddresses);
  w.put(static_cast<uint8_t>(count));
  for (std::size_t i = 0; i < count; ++i) {
    w.put(addresses[i].family());
    w.put_bytes(std::as_bytes(std::span(addresses[i].raw())));
    w.put(addresses[i].port());
  }
}

std::vector<msgr::Address> get_addresses(ByteReader& r) {
  const auto count = r.get<uint8_t>();
  if (count > OsdInfo::kMaxAddresses) r.mark_bad();
  if (!r.can_hold(count, msgr::Address::kWireBytes)) return {};
  std::vector<msgr::Address> addresses;
  addresses.reserve(count);
  for (uint8_t i = 0; i < count; ++i) addresses.push_back(get_address(r));
  return addresses;
}

}  // namespace lunar::objecter
